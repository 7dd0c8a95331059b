"""What is made of the margin or of the two log-ratios: convex functions, divergences, penalties, one side at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp
from points import close, margin, slopes

import poz
import poz.reference
from poz.testing.strategies import cases

Z = np.concatenate([np.linspace(-40, 40, 161), [-700.0, -100.0, 100.0, 700.0]])
EXPONENTIALS = {
    "chi_po": [{}, {"clip": 3.0}],
    "f_dpo": [{"divergence": d, "alpha": a} for d in ("forward_kl", "js", "alpha") for a in (0.1, 0.9)],
    "gpo_link": [{"link": k} for k in ("exponential", "savage", "truncated_quadratic")],
    "bpo": [{"link": "exponential"}],
    "cell": [{}],
    "dil": [{"loss": k, "length_normalized": n} for k in ("lsif", "ukl", "bce") for n in (False, True)],
    "discopop": [{"tau": 1.0}, {"tau": 0.01}],
    "simper": [{}],
    "alpha_po": [{"alpha": a} for a in (-1.0, 0.5, 2.0)],
    "arpo": [{}, {"rate": 2.0}],
    "orpo": [{}],
    "cal_dpo": [{}],
}


def test_bregman_balance_with_the_logistic_generator_is_dpo():
    """h'(R) R - h(R) - h'(1/R) for h = (R log R - (1 + R) log(1 + R)) / 2, so h' = log(R / (1 + R)) / 2, R = e^-z."""
    for z in (-30.0, -2.0, 0.0, 1.5, 30.0):
        with mp.workdps(40):
            ratio = mp.exp(-mp.mpf(z))
            slope = [mp.log(r / (1 + r)) / 2 for r in (ratio, 1 / ratio)]
            value = slope[0] * ratio - (ratio * mp.log(ratio) - (1 + ratio) * mp.log1p(ratio)) / 2 - slope[1]
        close(poz.dpo(margin(z), beta=1.0), float(value))


def test_links_at_zero():
    values, at_zero = {}, {}
    for link in ("exponential", "truncated_quadratic", "savage", "square", "logistic", "hinge"):
        losses, slope, _ = slopes(poz.gpo_link.bind(beta=1.0, link=link), margin(np.array([0.0, 3.0, -3.0])))
        values[link], at_zero[link] = losses, slope[0]
    close([values[k][0] for k in values], [1, 1, 0.25, 1, math.log(2), 1])
    close([at_zero[k] for k in at_zero], [-1, -2, -0.25, -2, -0.5, -1])
    close(values["savage"], (1 - 1 / (1 + np.exp([-0.0, -3, 3]))) ** 2)


@given(tau=st.floats(0.05, 2))
def test_the_square_link_is_ipo_in_other_units(tau):
    square = poz.gpo_link(margin(Z), beta=2 * tau, link="square")
    close(square, 4 * tau**2 * poz.ipo(margin(Z), tau=tau), size=1e7)


def test_savage_is_bounded_and_forgets_both_ends():
    losses, slope, _ = slopes(poz.gpo_link.bind(beta=1.0, link="savage"), margin([-1e4, -50.0, 50.0, 1e4]))
    assert (losses <= 1).all()
    assert (np.abs(slope) < 1e-20).all()


@given(alpha=st.floats(0.05, 0.95))
def test_the_two_conventions_of_alpha(alpha):
    pairs = poz.Pairs(Z / 10, -Z / 20, 0 * Z, 0 * Z)
    ours = poz.f_dpo(pairs, divergence="alpha", alpha=alpha)
    close(poz.f_dpo(pairs, divergence="alpha", alpha=1 - alpha, convention="trl"), ours, size=1e13)


def test_f_dpo_joins_its_ends_and_has_its_scores_as_slopes():
    pairs = poz.Pairs(Z[40:120] / 10, Z[40:120][::-1] / 9, 0 * Z[40:120], 0 * Z[40:120])
    for divergence, alpha in (("reverse_kl", 1e-9), ("forward_kl", 1 - 1e-9)):
        near = poz.f_dpo(pairs, divergence="alpha", alpha=alpha)
        np.testing.assert_allclose(near, poz.f_dpo(pairs, divergence=divergence), rtol=1e-7)
    # h'(a): 1, e^-a, σ(-a), e^-αa; at a = b every loss is log 2, its slope -β h'(a) / 2
    a = np.array([-2.0, 0.0, 1.5])
    same = poz.Pairs(a, a, 0 * a, 0 * a)
    scores = {"reverse_kl": 1 + 0 * a, "forward_kl": np.exp(-a), "js": 1 / (1 + np.exp(a)), "alpha": np.exp(-0.3 * a)}
    for divergence, score in scores.items():
        losses, slope, back = slopes(poz.f_dpo.bind(divergence=divergence, alpha=0.3, beta=0.7), same)
        close(losses, math.log(2))
        close(slope, -0.35 * score)
        close(back, 0.35 * score)


def test_chi_po_is_twice_as_steep_as_dpo_at_the_reference_and_its_clip_stops_it():
    at_reference = margin(np.zeros(3))
    close(slopes(poz.chi_po, at_reference)[1], 2 * slopes(poz.dpo, at_reference)[1])
    pairs = poz.Pairs(np.array([5.0, 0.1]), np.array([-1.0, 0.0]), np.zeros(2), np.zeros(2))
    losses, slope, _ = slopes(poz.chi_po.bind(clip=2.0), pairs)
    close(losses[0], math.log1p(math.exp(-2)))
    assert slope[0] == 0
    assert slope[1] < 0


def test_calibrated_dpo_is_dpo_plus_its_squares():
    a, b = np.linspace(-3, 3, 7), np.linspace(2, -4, 7)
    pairs = poz.Pairs(a, b, 0 * a, 0 * a)
    squares = (a - 5) ** 2 + (b + 5) ** 2
    close(poz.cal_dpo(pairs, beta=0.1, calibration_weight=0.3), poz.dpo(pairs, beta=1.0) + 0.3 * squares)
    close(poz.cal_dpo(margin(0.0), beta=0.02), math.log(2) + 0.5 / (2 * 0.02**2))


@given(beta=st.floats(0.05, 2), weight=st.floats(0, 3))
def test_calibrated_dpo_is_dpo_and_sppo_of_a_certain_win(beta, weight):
    """SPPO has half of the squares, at ±η/2 with η = 1/β."""
    a, b = np.linspace(-3, 3, 7), np.linspace(2, -4, 7)
    pairs, logps = poz.Pairs(a, b, 0 * a, 0 * a), np.stack([a, b], -1)
    won = poz.Samples(logps, 0 * logps, winrates=np.tile([1.0, 0.0], (7, 1)))
    both = poz.dpo(pairs, beta=1.0) + 2 * weight * poz.sppo(won, eta=1 / beta)
    close(poz.cal_dpo(pairs, beta=beta, calibration_weight=weight), both, size=100)


def test_one_sided_ones():
    """MinorDPO: no push below the reference. DPO-Shift at λ = 0: none at all. BPO: one side at a time, but for a tie."""
    a, b = np.array([1.0, -1.0, 2.0, -3.0]), np.array([-2.0, -2.0, 1.0, 3.0])
    pairs = poz.Pairs(a, b, 0 * a, 0 * a)
    _, chosen, rejected = slopes(poz.minor_dpo, pairs)
    assert (chosen < 0).all()
    np.testing.assert_array_equal(rejected > 0, b > 0)
    _, chosen, rejected = slopes(poz.dpo_shift.bind(shift=0.0), pairs)
    assert (rejected == 0).all()
    _, chosen, rejected = slopes(poz.bpo.bind(alpha=0.3), pairs)
    np.testing.assert_array_equal(chosen != 0, a < -0.3 * b)
    np.testing.assert_array_equal(rejected != 0, a >= -0.3 * b)


@given(data=st.data())
def test_hypo_is_never_below_dpo(data):
    case = data.draw(cases(poz.hypo))
    assert (case.objective(case.batch) >= poz.dpo(case.batch, **case.objective.values) * (1 - 1e-12)).all()


def test_dpop_starts_with_the_gradient_of_dpo():
    """At π = π_ref the penalty has its kink; its slope there is 0."""
    same = margin(np.zeros(2))
    close(slopes(poz.dpop.bind(beta=0.3), same)[1], slopes(poz.dpo.bind(beta=0.3), same)[1])
    _, slope, back = slopes(poz.dpop.bind(beta=0.3, penalty=50.0), margin(np.array([-1e-9])))
    close(slope / back, -51)


@pytest.mark.parametrize("name", EXPONENTIALS)
def test_no_exponential_overflows(name):
    """Float32, any margin up to ten thousand nats, either way: finite losses and gradients."""
    sizes = [0.0, 1e-8, 1.0, 44.0, 59.999, 60.0, 61.0, 89.0, 800.0, 1e4]
    grid = torch.tensor([(-x, -y, -u, -v) for x in sizes for y in sizes for u, v in ((0, 0), (y, x), (800, 3))])
    one = torch.ones(len(grid))
    pairs = poz.Pairs(*grid.T.contiguous(), one, one, torch.ones(len(grid)))
    for params in EXPONENTIALS[name]:
        this = poz.zoo[name].bind(**params)
        losses, chosen, rejected = slopes(this, pairs)
        assert np.isfinite(losses).all(), params
        assert np.isfinite(chosen).all(), params
        assert np.isfinite(rejected).all(), params


def test_the_exponential_goes_on_straight_beyond_its_cap():
    h = np.array([-59.0, -60.0, -61.0, -80.0, -1e4])
    losses, slope, _ = slopes(poz.gpo_link.bind(beta=1.0), margin(h))
    close(losses, [math.exp(59), *(math.exp(60) * (-59 - h[1:]))])
    close(slope[[0, 2, 3, 4]], [-math.exp(59), *[-math.exp(60)] * 3])


BAD = {
    "no alpha": (lambda: poz.f_dpo.bind(alpha=1.0), r"in \(0, 1\) for alpha; got 1.0"),
    "a clip of nothing": (lambda: poz.chi_po.bind(clip=0.0), "for clip; got 0.0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")
