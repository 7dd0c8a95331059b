"""Labels that are noisy, soft, or known from rewards."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from points import close, margin, slopes

import poz
import poz.reference

Z = np.concatenate([np.linspace(-40, 40, 161), [-700.0, -100.0, 100.0, 700.0]])


@given(eps=st.floats(0, 0.49), beta=st.floats(0.01, 2))
def test_robust_dpo_is_unbiased_under_flips(eps, beta):
    robust = poz.robust_dpo.bind(beta=beta, label_smoothing=eps)
    noisy = (1 - eps) * robust(margin(Z)) + eps * robust(margin(-Z))
    close(noisy, poz.dpo(margin(Z), beta=beta), size=1e3 / (1 - 2 * eps))


def test_robust_dpo_has_no_floor_and_its_slope_never_dies():
    this = poz.robust_dpo.bind(beta=1.0, label_smoothing=0.1)
    assert this(margin(50.0))[0] == pytest.approx(-6.25, rel=1e-12)
    _, slope, _ = slopes(this, margin([50.0, 700.0]))
    close(slope, -0.1 / 0.8)


@given(eps=st.floats(1e-6, 0.5), beta=st.floats(0.01, 2))
def test_exo_and_smoothed_dpo_are_the_two_divergences_from_one_label(eps, beta):
    known = margin(Z, margin=0 * Z + math.log((1 - eps) / eps))
    forward = poz.reward_aware_po(known, beta=beta, distance="forward_kl")
    close(poz.exo(known, beta=beta, label_smoothing=eps), forward, size=1e3)
    entropy = -eps * math.log(eps) - (1 - eps) * math.log1p(-eps)
    backward = poz.reward_aware_po(known, beta=beta, distance="backward_kl")
    close(poz.dpo(known, beta=beta, label_smoothing=eps) - entropy, backward, size=1e3)


def test_exo_gives_up_on_badly_ordered_pairs_and_is_zero_at_its_label():
    goal = math.log((1 - 1e-3) / 1e-3)
    losses, slope, _ = slopes(poz.exo.bind(beta=1.0), margin([goal, -50.0, -1e4]))
    close(losses, [0.0, -math.log(1e-3), -math.log(1e-3)])
    assert abs(slope[0]) < 1e-15
    # σ(z) σ(-z) (z - goal), without a trace of rounding
    assert slope[1] == pytest.approx(math.exp(-50) * (-50 - goal), rel=1e-12)
    assert slope[2] == 0


def test_exo_k_of_two_is_exo_with_the_label_of_the_rewards():
    gap, rewards = np.linspace(-5, 5, 11), np.array([1.0, -0.5])
    lists = poz.Ranked(np.stack([gap, 0 * gap], 1), 0 * np.stack([gap, gap], 1), None, np.tile(rewards, (11, 1)))
    eps = 1 / (1 + math.exp(1.5 / 2.0))
    close(poz.exo_k(lists, beta=0.7, reward_beta=2.0), poz.exo(margin(gap), beta=0.7, label_smoothing=eps))


def test_exo_k_is_zero_exactly_where_the_policy_has_the_rewards():
    rewards = np.array([[2.0, 0.5, -1.0], [1.0, 1.0, 0.0]])
    lists = poz.Ranked(rewards / (0.5 * 0.2) - 7, 0 * rewards, None, rewards)
    close(poz.exo_k(lists, beta=0.2, reward_beta=0.5), 0)
    assert (poz.exo_k(lists._replace(logps=0 * rewards), beta=0.2, reward_beta=0.5) > 0.1).all()


@given(beta=st.floats(0.05, 2), eta=st.floats(0.1, 3))
def test_a_known_gap_too_large_to_doubt_makes_backward_kl_dpo(beta, eta):
    """Backward KL to a label of 1 is -log σ(z); e^-800 is no doubt."""
    known = margin(Z, margin=0 * Z + 800 / eta)
    close(poz.reward_aware_po(known, beta=beta, eta=eta, distance="backward_kl"), poz.dpo(known, beta=beta))


@given(alpha=st.floats(0.05, 5), beta=st.floats(0.05, 2))
def test_softmax_cross_entropy_over_two_is_the_logistic_loss_of_a_soft_label(alpha, beta):
    gaps, logps = np.linspace(-3, 3, len(Z)), np.stack([Z, 0 * Z], -1)
    lists = poz.Ranked(logps, 0 * logps, scores=np.stack([gaps, 0 * gaps], -1))
    soft = poz.spce(margin(Z, label=1 / (1 + np.exp(-gaps / alpha))), beta=beta)
    # 1 - label carries the rounding of the label, times a margin of 1400
    close(poz.info_nca(lists, beta=beta, alpha=alpha), soft, size=1e3)
    close(poz.listnet(lists, beta=beta, tau=alpha), soft, size=1e3)


@given(label=st.floats(0.01, 0.99), beta=st.floats(0.05, 2))
def test_soft_labels_have_a_finite_optimum_with_the_entropy_as_value(label, beta):
    best = math.log(label / (1 - label)) / beta
    losses, slope, _ = slopes(poz.spce.bind(beta=beta), margin([best, best + 1, best - 1], label=np.full(3, label)))
    assert losses[0] == pytest.approx(-label * math.log(label) - (1 - label) * math.log1p(-label), rel=1e-12)
    assert abs(slope[0]) < 1e-14
    assert (losses[1:] > losses[0]).all()


def test_swapping_a_pair_and_its_label_changes_nothing():
    pairs = margin(Z, label=np.linspace(0, 1, len(Z)))
    close(poz.spce(pairs.swap(), beta=0.3), poz.spce(pairs, beta=0.3), size=1e3)


@pytest.mark.parametrize("name", ["cpl", "spce", "online_ipo"])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_a_label_is_a_probability(name, kind):
    this = poz.zoo[name]
    batch = this.family(
        *[kind(np.full((3, 1)[: 1 + (this.family is poz.TokenPairs)], x)) for x in (1.0, 2.0, 3.0, 4.0)]
    )
    for wrong in (-1.0, 1.5, math.inf):
        with pytest.raises(ValueError, match=rf"`{name}` needs labels in \[0, 1\].*; got {wrong}. For votes"):
            this(batch._replace(label=kind(np.array([0.0, wrong, 1.0]))))
    losses = this(batch._replace(label=kind(np.array([0.0, math.nan, 1.0]))))
    np.testing.assert_array_equal(np.isnan(np.asarray(losses)), [False, True, False])


@pytest.mark.parametrize("this", [poz.mallows_dpo, poz.rainbow_po.bind(kappa=0.29)])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_an_entropy_is_a_share(this, kind):
    """In nats it would be beyond 1, the dispersion negative, and the preference the wrong way round."""
    batch = poz.Pairs(*[kind(np.full(3, x)) for x in (-1.0, -2.0, -3.0, -4.0, 2.0, 2.0)])
    for wrong in (-0.2, 0.0, 1.5, 2.3):
        with pytest.raises(ValueError, match=rf"`{this.name}` needs an entropy in \(0, 1\].*; got {wrong}. Divide"):
            this(batch._replace(entropy=kind(np.array([0.5, wrong, 1.0]))))
    losses = np.asarray(this(batch._replace(entropy=kind(np.array([0.5, math.nan, 1.0])))))
    np.testing.assert_array_equal(np.isnan(losses), [False, True, False])
    assert np.isfinite(np.asarray(poz.rainbow_po(batch))).all()  # which reads no entropy


BAD = {
    "exo without smoothing": (lambda: poz.exo.bind(label_smoothing=0.0), r"in \(0, 0.5\] for label_smoothing; got 0.0"),
    "robust at one half": (lambda: poz.robust_dpo.bind(label_smoothing=0.5), r"in \[0, 0.5\) for label_smoothing"),
    "no entropy": (lambda: poz.mallows_dpo(margin(1.0)), "`mallows_dpo` reads entropy, which is missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")
