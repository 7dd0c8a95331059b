"""Laws of single objectives: identities that are no plain `Limit`, where NaN lurks in other implementations, and traps."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp

import poz
import poz.reference
from poz.algorithms.sampo import sampo_subset
from poz.testing.strategies import cases

SIDES = ("chosen", "rejected", "ref_chosen", "ref_rejected")
# Functions of h = (l_w - l_l) - (r_w - r_l), and of data, alone.
OF_H = (
    *("hinge", "robust_dpo", "exo", "discopop", "odpo", "spce", "mm_dpo", "rebel", "reward_aware_po", "gpo_link"),
    *("dove", "dno", "r_dpo", "modpo", "alt_po", "padll", "cell", "mallows_dpo"),
    *("aql", "aqfl"),
)
JUMPS = ("padll", "pfl")
# Functions of l_w - l_l and r_w - r_l.
OF_GAPS = (*OF_H, "dpo_gamma", "hypo", "h_dpo", "pfl")
# Functions of a = l_w - r_w and b = l_l - r_l.
OF_RATIOS = (*OF_H, "dpop", "chi_po", "cal_dpo", "f_dpo", "dpo_shift", "minor_dpo", "bpo")
Z = np.concatenate([np.linspace(-40, 40, 161), [-700.0, -100.0, 100.0, 700.0]])


def margin(h, **data):
    """Pairs whose log-ratio margin is h."""
    h = np.atleast_1d(np.asarray(h, float))
    return poz.Pairs(h, *[0 * h] * 3, **data)


def means(p, q, dtype=torch.float64):
    """Pairs of one token on each side, with a graph."""
    sides = [torch.tensor(np.atleast_1d(x), dtype=dtype, requires_grad=True) for x in (p, q)]
    one = torch.ones_like(sides[0]).detach()
    return poz.Pairs(*sides, chosen_len=one, rejected_len=one)


def slopes(objective, pairs, fields=("chosen", "rejected")):
    """The losses, and the gradient of their sum by field."""
    given_ = {
        n: x if isinstance(x, torch.Tensor) else torch.tensor(x) for n, x in pairs._asdict().items() if x is not None
    }
    for name in fields:
        given_[name] = given_[name].detach().requires_grad_()
    losses = objective(type(pairs)(**given_))
    gradients = torch.autograd.grad(losses.sum(), [given_[n] for n in fields], allow_unused=True)
    return losses.detach().numpy(), [np.zeros(len(losses)) if g is None else g.numpy() for g in gradients]


def close(actual, expected, size=1.0):
    np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-13 * size)


@pytest.mark.parametrize("name", OF_GAPS)
@given(data=st.data(), shift=st.floats(-50, 50))
def test_a_constant_on_both_sides_changes_nothing(name, data, shift):
    case = data.draw(cases(poz.zoo[name], widest=10.0))
    b = case.batch
    moved = b._replace(chosen=b.chosen + shift, rejected=b.rejected + shift)
    losses = case.objective(b)
    # Rounding of h at this size is 3e-14, and a loss may be as steep as it is large.
    if name not in JUMPS:
        np.testing.assert_allclose(case.objective(moved), losses, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OF_RATIOS)
@given(data=st.data())
def test_only_the_log_ratios_count(name, data):
    case = data.draw(cases(poz.zoo[name], widest=10.0))
    b, shift = case.batch, np.linspace(-30, 30, len(case.batch.chosen))
    if name in JUMPS:
        return
    moved = b._replace(chosen=b.chosen + shift, ref_chosen=b.ref_chosen + shift)
    np.testing.assert_allclose(case.objective(moved), case.objective(b), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OF_GAPS)
@given(data=st.data())
def test_gradients_of_the_two_sides_cancel(name, data):
    case = data.draw(cases(poz.zoo[name], widest=100.0))
    _, (chosen, rejected) = slopes(case.objective, case.batch)
    np.testing.assert_array_equal(chosen, -rejected)


@pytest.mark.parametrize("name", ["cal_dpo", "chi_po", "f_dpo", "dpo_shift", "dpop", "minor_dpo", "bpo"])
def test_displacing_both_log_ratios_does_change_these(name):
    this = poz.f_dpo.bind(divergence="js") if name == "f_dpo" else poz.zoo[name]
    pairs = poz.Pairs(np.array([1.0]), np.array([0.5]), np.zeros(1), np.zeros(1))
    moved = pairs._replace(chosen=pairs.chosen - 3, rejected=pairs.rejected - 3)
    assert abs(this(moved) - this(pairs))[0] > 1e-3


@given(eps=st.floats(0, 0.49), beta=st.floats(0.01, 2))
def test_robust_dpo_is_unbiased_under_flips(eps, beta):
    robust = poz.robust_dpo.bind(beta=beta, label_smoothing=eps)
    noisy = (1 - eps) * robust(margin(Z)) + eps * robust(margin(-Z))
    close(noisy, poz.dpo(margin(Z), beta=beta), size=1e3 / (1 - 2 * eps))


def test_robust_dpo_has_no_floor_and_its_slope_never_dies():
    this = poz.robust_dpo.bind(beta=1.0, label_smoothing=0.1)
    assert this(margin(50.0))[0] == pytest.approx(-6.25, rel=1e-12)
    _, (slope, _) = slopes(this, margin([50.0, 700.0]))
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
    losses, (slope, _) = slopes(poz.exo.bind(beta=1.0), margin([goal, -50.0, -1e4]))
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


def test_bregman_balance_with_the_logistic_generator_is_dpo():
    """h'(R) R - h(R) - h'(1/R) for h = (R log R - (1 + R) log(1 + R)) / 2, so h' = log(R / (1 + R)) / 2, R = e^-z."""
    for z in (-30.0, -2.0, 0.0, 1.5, 30.0):
        with mp.workdps(40):
            ratio = mp.exp(-mp.mpf(z))
            slope = [mp.log(r / (1 + r)) / 2 for r in (ratio, 1 / ratio)]
            value = slope[0] * ratio - (ratio * mp.log(ratio) - (1 + ratio) * mp.log1p(ratio)) / 2 - slope[1]
        close(poz.dpo(margin(z), beta=1.0), float(value))


def test_losses_of_single_completions_know_the_level():
    """Adding 1 to policy and reference changes nothing; to the policy alone it does, unlike for functions of z."""
    a, b, beta = np.array([0.5, -1.0]), np.array([-0.3, 2.0]), 0.7

    def two(shift, ref):
        sides = [x + shift for x in (a, b)]
        known = np.tile([1.0, 0.0], (2, 1))
        refs = [np.full(2, float(ref))] * 2
        pairs = poz.Pairs(*sides, *refs)
        lists = poz.Ranked(np.stack(sides, -1), np.stack(refs, -1), scores=known)
        ones = [poz.Unpaired(x, r, np.full(2, good)) for x, r, good in zip(sides, refs, (True, False), strict=True)]
        return {
            "dpo": poz.dpo(pairs, beta=beta),
            "apo_zero": poz.apo_zero(pairs, beta=beta),
            "apo_down": poz.apo_down(pairs, beta=beta),
            "nca": poz.nca(lists, beta=beta),
            "bco": sum(poz.bco(one, beta=beta) for one in ones),
            "kto": sum(poz.kto(one, beta=beta, estimator="zero") for one in ones),
            "sppo": poz.sppo(poz.Samples(lists.logps, lists.ref_logps, winrates=known), eta=1 / beta),
        }

    here, along, away = two(0, 0), two(1, 1), two(1, 0)
    for name, losses in here.items():
        close(along[name], losses, size=10)
        assert (abs(away[name] - losses) > 1e-3).all() == (name != "dpo"), name


def test_gpo_of_additive_scores_tilts_by_the_centred_reward():
    """s(y, y') = r(y) - r(y'): the step from a uniform policy is log π - log π_t = (r - mean r) / β."""
    rewards = np.array([[1.0, -0.5, 0.25, 3.0]])
    scores = (rewards[..., :, None] - rewards[..., None, :]).mean(-1)
    start = np.full((1, 4), math.log(0.25))
    there = poz.Samples(start + (rewards - rewards.mean()) / 0.3, start, winrates=scores)
    close(poz.gpo(there, beta=0.3), 0)
    assert poz.gpo(there._replace(logps=start + rewards / 0.3), beta=0.3) > 1


@given(label=st.floats(0.01, 0.99), beta=st.floats(0.05, 2))
def test_soft_labels_have_a_finite_optimum_with_the_entropy_as_value(label, beta):
    best = math.log(label / (1 - label)) / beta
    losses, (slope, _) = slopes(poz.spce.bind(beta=beta), margin([best, best + 1, best - 1], label=np.full(3, label)))
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


@pytest.mark.parametrize("gap", [-1.0, 0.0, 0.3, 2.0])
def test_regressions_are_zero_exactly_at_their_target(gap):
    known = {"margin": np.full(2, gap)}
    close(poz.rebel(margin([3 * gap, 3 * gap + 1], **known), eta=3.0), [0, 1])
    for distance in ("squared", "backward_kl", "forward_kl"):
        at, off = poz.reward_aware_po(margin([6 * gap, 6 * gap + 1], **known), beta=0.5, eta=3.0, distance=distance)
        assert abs(at) < 1e-15
        assert off > 1e-4
    _, (slope, _) = slopes(poz.dno.bind(eta=0.5), margin([2 * gap, 2 * gap + 1], **known))
    assert abs(slope[0]) < 1e-15
    assert slope[1] > 1e-3


def test_what_is_paid_for_the_gap():
    """ODPO: a gap below 1 is easier than DPO, of 0 free. MM-DPO: β from β to (1 + w) β, rising and concave."""
    gaps = np.array([0.0, 0.5, 1.0, 2.0, 10.0])
    pairs = margin(np.full(5, 0.7), margin=gaps)
    losses = poz.odpo(pairs, beta=1.0)
    assert losses[0] == 0
    assert (np.diff(losses) > 0).all()
    assert losses[1] < poz.dpo(pairs, beta=1.0)[1] < losses[3]
    steep = -np.log(np.expm1(poz.mm_dpo(margin(np.ones(7), margin=np.array([-5.0, 0, 1, 2, 3, 4, 1e3])), beta=1.0)))
    close(steep[[0, 1, -1]], [1, 1, 1.5])
    assert (np.diff(steep[1:]) > 0).all()
    assert (np.diff(steep[1:6], 2) < 0).all()


def test_length_is_paid_for():
    """R-DPO: the loss falls, and the gradient with it, the longer chosen is."""
    h = np.zeros(5)
    pairs = margin(h, chosen_len=np.array([0, 5, 10, 15, 20]), rejected_len=np.full(5, 10))
    losses, (slope, _) = slopes(poz.r_dpo.bind(alpha=0.1), pairs)
    assert (np.diff(losses) < 0).all()
    assert (np.diff(np.abs(slope)) < 0).all()
    close(losses, np.log1p(np.exp(-0.1 * np.array([-10, -5, 0, 5, 10]))))


@given(n=st.integers(1, 50), beta=st.floats(0.1, 10))
def test_length_normalised_dpo_of_equal_lengths_is_dpo_and_ignores_repetition(n, beta):
    pairs = margin(Z, chosen_len=np.full(len(Z), n), rejected_len=np.full(len(Z), n))
    losses = poz.ln_dpo(pairs, beta=beta)
    close(losses, poz.dpo(pairs, beta=beta / n), size=1e4)
    twice = poz.Pairs(*[2 * x for x in pairs[:4]], chosen_len=2 * pairs.chosen_len, rejected_len=2 * pairs.rejected_len)
    close(poz.ln_dpo(twice, beta=beta), losses, size=1e4)


def test_links_at_zero():
    values, at_zero = {}, {}
    for link in ("exponential", "truncated_quadratic", "savage", "square", "logistic", "hinge"):
        losses, (slope, _) = slopes(poz.gpo_link.bind(beta=1.0, link=link), margin(np.array([0.0, 3.0, -3.0])))
        values[link], at_zero[link] = losses, slope[0]
    close([values[k][0] for k in values], [1, 1, 0.25, 1, math.log(2), 1])
    close([at_zero[k] for k in at_zero], [-1, -2, -0.25, -2, -0.5, -1])
    close(values["savage"], (1 - 1 / (1 + np.exp([-0.0, -3, 3]))) ** 2)


@given(tau=st.floats(0.05, 2))
def test_the_square_link_is_ipo_in_other_units(tau):
    square = poz.gpo_link(margin(Z), beta=2 * tau, link="square")
    close(square, 4 * tau**2 * poz.ipo(margin(Z), tau=tau), size=1e7)


def test_savage_is_bounded_and_forgets_both_ends():
    losses, (slope, _) = slopes(poz.gpo_link.bind(beta=1.0, link="savage"), margin([-1e4, -50.0, 50.0, 1e4]))
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
        losses, (slope, back) = slopes(poz.f_dpo.bind(divergence=divergence, alpha=0.3, beta=0.7), same)
        close(losses, math.log(2))
        close(slope, -0.35 * score)
        close(back, 0.35 * score)


def test_chi_po_is_twice_as_steep_as_dpo_at_the_reference_and_its_clip_stops_it():
    at_reference = margin(np.zeros(3))
    close(slopes(poz.chi_po, at_reference)[1][0], 2 * slopes(poz.dpo, at_reference)[1][0])
    pairs = poz.Pairs(np.array([5.0, 0.1]), np.array([-1.0, 0.0]), np.zeros(2), np.zeros(2))
    losses, (slope, _) = slopes(poz.chi_po.bind(clip=2.0), pairs)
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


def test_siblings_of_discopop():
    h = Z[Z > -100]
    dpo = poz.dpo(margin(h), beta=0.5)
    close(poz.padll(margin(h), beta=0.5), np.where(h < 0, 0.45, 0.9) * dpo)
    close(poz.cell(margin(h), beta=0.5), 0.5 * (dpo + poz.gpo_link(margin(h), beta=0.5)))


def test_one_sided_ones():
    """MinorDPO: no push below the reference. DPO-Shift at λ = 0: none at all. BPO: one side at a time, but for a tie."""
    a, b = np.array([1.0, -1.0, 2.0, -3.0]), np.array([-2.0, -2.0, 1.0, 3.0])
    pairs = poz.Pairs(a, b, 0 * a, 0 * a)
    _, (chosen, rejected) = slopes(poz.minor_dpo, pairs)
    assert (chosen < 0).all()
    np.testing.assert_array_equal(rejected > 0, b > 0)
    _, (chosen, rejected) = slopes(poz.dpo_shift.bind(shift=0.0), pairs)
    assert (rejected == 0).all()
    _, (chosen, rejected) = slopes(poz.bpo.bind(alpha=0.3), pairs)
    np.testing.assert_array_equal(chosen != 0, a < -0.3 * b)
    np.testing.assert_array_equal(rejected != 0, a >= -0.3 * b)


@given(data=st.data())
def test_hypo_is_never_below_dpo(data):
    case = data.draw(cases(poz.hypo))
    assert (case.objective(case.batch) >= poz.dpo(case.batch, **case.objective.values) * (1 - 1e-12)).all()


def test_dpop_starts_with_the_gradient_of_dpo():
    """At π = π_ref the penalty has its kink; its slope there is 0."""
    same = margin(np.zeros(2))
    close(slopes(poz.dpop.bind(beta=0.3), same)[1][0], slopes(poz.dpo.bind(beta=0.3), same)[1][0])
    _, (slope, back) = slopes(poz.dpop.bind(beta=0.3, penalty=50.0), margin(np.array([-1e-9])))
    close(slope / back, -51)


def tokens(rng, **fields):
    chosen, rejected = -rng.exponential(1, (3, 4)), -rng.exponential(1, (3, 6))
    return poz.TokenPairs(chosen, rejected, chosen - 0.1, rejected + 0.2, **fields)


def summed(pairs):
    return poz.Pairs(*[x.sum(-1) for x in pairs[:4]])


def test_token_weights_of_one_are_dpo():
    pairs = tokens(np.random.default_rng(0))
    ones = pairs._replace(chosen_weights=0 * pairs.chosen + 1, rejected_weights=0 * pairs.rejected + 1)
    close(poz.tis_dpo(ones, beta=0.3), poz.dpo(summed(pairs), beta=0.3))


def test_token_losses_that_are_dpo_of_the_sums():
    """LD-DPO at α = 1, whatever the lengths; Step-DPO of the whole; TDPO at α = 0, and where both sides moved alike."""
    pairs = tokens(np.random.default_rng(2))
    dpo = poz.dpo(summed(pairs), beta=0.3)
    for reference in ("weighted", "summed"):
        close(poz.ld_dpo(pairs, beta=0.3, alpha=1.0, reference=reference), dpo)
    masks = {f"{side}_mask": np.ones(getattr(pairs, side).shape, bool) for side in ("chosen", "rejected")}
    close(poz.step_dpo(pairs._replace(**masks), beta=0.3), dpo)
    moved = pairs._replace(chosen_kl=pairs.chosen**2, rejected_kl=pairs.rejected**2)
    close(poz.tdpo(moved, beta=0.3, alpha=0.0), dpo)
    alike = pairs._replace(chosen_kl=0 * pairs.chosen + 0.6, rejected_kl=0 * pairs.rejected + 0.4)  # 4 · 0.6 = 6 · 0.4
    for version in ("tdpo1", "tdpo2"):
        close(poz.tdpo(alike, beta=0.3, alpha=1.0, version=version), dpo)


def test_sampo_of_equal_lengths_is_dpo_and_of_others_keeps_the_shorter():
    pairs, rng = tokens(np.random.default_rng(3)), np.random.default_rng(0)
    even = poz.TokenPairs(*[x[:, :4] for x in pairs[:4]])
    for batch, kept in ((even, 4), (pairs, 4)):
        masks = [np.ones(x.shape, bool) for x in batch[:2]]
        weights = sampo_subset(*masks, rng)
        np.testing.assert_array_equal([w.sum(-1) for w in weights], kept)
        drawn = batch._replace(chosen_weights=weights[0], rejected_weights=weights[1])
        left = [x * w for x, w in zip(batch[:4], weights * 2, strict=True)]
        close(poz.sampo(drawn, beta=0.3), poz.dpo(summed(left), beta=0.3))
    drawn = even._replace(chosen_weights=0 * even.chosen + 1, rejected_weights=0 * even.rejected + 1)
    close(poz.sampo(drawn, beta=0.3), poz.dpo(summed(even), beta=0.3))


def test_dense_dpo_without_extra_weight():
    """γ = 1: its sums are DPO's, its weighted means the means per token of length-normalised DPO."""
    rng = np.random.default_rng(4)
    pairs = tokens(rng, chosen_changed=rng.random((3, 4)) < 0.5, rejected_changed=rng.random((3, 6)) < 0.5)
    sums = summed(pairs)._replace(chosen_len=np.full(3, 4), rejected_len=np.full(3, 6))
    close(poz.ddpo(pairs, beta=0.3, gamma=1.0, normalize=False), poz.dpo(sums, beta=0.3))
    close(poz.ddpo(pairs, beta=0.3, gamma=1.0), poz.ln_dpo(sums, beta=0.3))


def test_wpo_weights():
    """1 where every token is as likely as a collision; never above 1 if clamped; held constant."""
    pairs = tokens(np.random.default_rng(1))
    even = pairs._replace(chosen_collision=pairs.chosen, rejected_collision=pairs.rejected)
    dpo = poz.dpo(summed(pairs), beta=0.01, label_smoothing=0.1)
    close(poz.wpo(even, label_smoothing=0.1), dpo)
    greedy = even._replace(chosen_collision=pairs.chosen - 0.5)
    close(poz.wpo(greedy, label_smoothing=0.1), dpo)
    close(poz.wpo(greedy, label_smoothing=0.1, clamp=False), math.exp(0.5) * dpo)
    rare = even._replace(rejected_collision=pairs.rejected + 2)
    losses, (slope,) = slopes(poz.wpo, rare, ["chosen"])
    close(losses, math.exp(-2) * poz.dpo(summed(pairs), beta=0.01))
    _, (plain,) = slopes(poz.dpo.bind(beta=0.01), summed(pairs), ["chosen"])
    close(slope, math.exp(-2) * plain[:, None] + 0 * pairs.chosen)


def test_rrhf_by_hand():
    """q = (-1, -0.5, -2): the second exceeds the first by 0.5; equal scores make no pair; κ = 0 is no normalisation."""
    lists = poz.Ranked(
        np.array([[-2.0, -1.5, -4.0]] * 2), None, np.array([[2, 3, 2]] * 2), np.array([[2.0, 1, 0], [2, 2, 0]])
    )
    close(poz.rrhf(lists, weight=2.0), [2 * 0.5 + 1, 1])
    close(poz.rrhf(lists, length_power=0.0, nll="sum"), [0.5 + 2, 2])


def test_repo_is_the_steep_limit_of_simpo():
    pairs = poz.Pairs(-np.linspace(0.1, 3, 9), -np.linspace(2, 0.2, 9), chosen_len=np.ones(9), rejected_len=np.ones(9))
    steep = poz.simpo(pairs, beta=1e6, gamma=0.4e6) / 1e6
    np.testing.assert_allclose(steep, poz.repo(pairs), atol=1e-6)


def test_arpo_rewards_a_tied_rejection_as_its_authors_do():
    tie = means([-2.0, -2.0], [-2.0, -9.0])
    for detach in (False, True):
        _, (_, rejected) = slopes(poz.arpo.bind(detach=detach), tie)
        assert rejected[0] < 0 < rejected[1]  # descent raises the tied one, and lowers the clearly worse one
    near = means([-2.0], [-2.5])
    undetached, detached = (slopes(poz.arpo.bind(detach=d), near)[1][1][0] for d in (False, True))
    u = 0.1 * (-2 + 2.5 * (0.9 * math.exp(0.2) - 1))
    weight = 1 / (1 + math.exp(u))
    close(detached, 0.1 * weight * (0.9 * math.exp(0.2) - 1))
    close(undetached, detached + 0.1 * weight * -2.5 * -0.36 * math.exp(0.2))


def exact_orpo(p, q, weight=0.1):
    """ORPO and its gradient by the textbook odds, in 60 digits."""
    with mp.workdps(60):
        p, q = mp.mpf(float(p)), min(mp.mpf(float(q)), mp.mpf(-1e-12))
        odds = [mp.exp(x) / (-mp.expm1(x)) if x < 0 else mp.inf for x in (p, q)]
        ratio = mp.zero if mp.isinf(odds[0]) else odds[1] / odds[0]
        mass = mp.exp(p) * -mp.expm1(q) + mp.exp(q) * -mp.expm1(p)
        slope = -1 - weight * mp.exp(q) / mass
        back = weight * mp.exp(q) * -mp.expm1(p) / (mass * -mp.expm1(q))
        return float(-p + weight * mp.log1p(ratio)), float(slope), float(back)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("p", "q"),
    [
        (-1e-8, -2.0),  # B1: log1mexp has a finite value and a NaN gradient there
        (-2.9e-8, -1.0),
        (0.0, -2.0),  # B2: a certain answer of one token
        (-0.0, -1e-8),
        (-2.0, -1e-8),
        (-200.0, -1e-6),
        (-300.0, -300.0),
        (-1.0, -200.0),
        (-0.5, -0.5),
    ],
)
def test_orpo_is_finite_and_right_where_others_give_nan(p, q, dtype):
    pairs = means([p], [q], dtype)
    expected = exact_orpo(pairs.chosen.item(), pairs.rejected.item())
    losses, (slope, back) = slopes(poz.orpo, pairs)
    rtol = 2e-5 if dtype is torch.float32 else 1e-10
    np.testing.assert_allclose([losses[0], slope[0], back[0]], expected, rtol=rtol, atol=1e-38)


def test_orpo_of_an_empty_rejected_completion():
    losses, (slope, back) = slopes(poz.orpo, means([-1.0], [0.0])._replace(rejected_len=torch.zeros(1)))
    assert np.isfinite(losses).all()
    assert np.isfinite(slope).all()
    assert back[0] == 0


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("alpha", [0.0, 1e-7, 1e-4, 2e-3, -0.02, 0.25, -1e-4])
def test_the_slope_of_alpha_po_in_alpha_is_that_of_its_losses(alpha, backend):
    """Against central differences of the reference; their error is 1e-10 of the third derivative, and 1e-16 / 1e-5."""
    p, q, step = np.array([-0.5, -3.0, -8.0, -9.9, -1e-3]), np.array([-2.0, -1.0, -9.0, -10.1, 0.0]), 1e-5
    fields = {"chosen": p, "rejected": q, "chosen_len": np.ones(5), "rejected_len": np.ones(5)}
    up, down = (poz.reference.alpha_po(**fields, alpha=a)[0] for a in (alpha + step, alpha - step))
    if backend == "jax":
        with jax.enable_x64(True):
            in_x64 = {n: jnp.asarray(x) for n, x in fields.items()}
            (slope,) = jax.vjp(lambda a: poz.alpha_po(poz.Pairs(**in_x64), alpha=a), jnp.full(5, alpha))[1](jnp.ones(5))
        np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-7, atol=1e-9)
        return
    # From |α p| = 0.1 on, float32 loses up to 20 roundings of β p² / 2
    for dtype, atol in ((torch.float64, 1e-9), (torch.float32, 20 * 6e-8 * 2.5 * (p**2 + q**2).max() / 2)):
        traced = torch.full((5,), alpha, dtype=dtype, requires_grad=True)
        pairs = poz.Pairs(**{n: torch.tensor(x, dtype=dtype) for n, x in fields.items()})
        (slope,) = torch.autograd.grad(poz.alpha_po(pairs, alpha=traced).sum(), traced)
        np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-7, atol=atol)


@pytest.mark.parametrize("alpha", [0.0, 1e-7, 0.25])
def test_an_infinite_log_prob_leaves_the_slope_of_alpha_po_known(alpha):
    """Of the other pairs, and of an impossible completion where α = 0 makes its reward the log-prob."""
    traced = torch.full((3,), alpha, dtype=torch.float64, requires_grad=True)
    pairs = means([-math.inf, -1.0, -2.0], [-1.0, -math.inf, -1.0])
    losses = poz.alpha_po(pairs, alpha=traced)
    slopes = torch.autograd.grad(losses.sum(), [traced, pairs.chosen, pairs.rejected])
    assert losses[0] == math.inf
    assert losses[1] == 0
    assert all(torch.isfinite(slope[2]) for slope in slopes)
    assert alpha or all(torch.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize("logp", [-200.0, -2000.0, -1e4])
def test_alpha_po_of_summed_log_probs_is_finite(logp):
    """B6: (e^-200)^-α is 0^-α = inf in float32."""
    losses, (slope, back) = slopes(poz.alpha_po, means([logp / 2], [logp], torch.float32))
    assert np.isfinite([losses, slope, back]).all()
    if logp == -200.0:
        with mp.workdps(60):
            reward = [(1 - mp.exp(-mp.mpf("0.25") * x)) / mp.mpf("0.25") for x in (logp / 2, logp)]
            expected = mp.log1p(mp.exp(-(mp.mpf("2.5") * (reward[0] - reward[1]) - mp.mpf("0.1"))))
        assert losses[0] == pytest.approx(float(expected), abs=1e-30)
        backwards = slopes(poz.alpha_po, means([logp], [logp / 2], torch.float32))[0][0]
        assert backwards == pytest.approx(float(mp.mpf("2.5") * (reward[0] - reward[1]) + mp.mpf("0.1")), rel=1e-5)


@pytest.mark.parametrize("alpha", [1e-9, -1e-9])
def test_alpha_po_joins_simpo(alpha):
    pairs = means(-np.linspace(0.01, 5, 9), -np.linspace(6, 0.1, 9))
    near = slopes(poz.alpha_po.bind(alpha=alpha), pairs)
    limit = slopes(poz.simpo.bind(beta=2.5, gamma=0.1), pairs)
    np.testing.assert_allclose(near[0], limit[0], rtol=1e-7)
    np.testing.assert_allclose(near[1], limit[1], rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_discopop_of_badly_ordered_pairs(dtype):
    """B7: e^-z overflows below z = -88.7; the loss is DPO's there, and its slope."""
    pairs = margin([-89.0, -100.0, -800.0, -1e4])
    pairs = poz.Pairs(*[x.astype(dtype) for x in pairs[:4]])
    losses, (slope, _) = slopes(poz.discopop.bind(beta=1.0), pairs)
    np.testing.assert_array_equal(losses, -pairs.chosen)
    np.testing.assert_array_equal(slope, -1)


@given(z=st.floats(-30, 30), tau=st.floats(0.05, 1))
def test_discopop_is_the_textbook_formula(z, tau):
    with mp.workdps(50):
        x, t = mp.mpf(z), mp.mpf(tau)
        m = 1 / (1 + mp.exp(-x / t))
        share = m * (1 - m) / t
        expected = (1 - m) * mp.log1p(mp.exp(-x)) + m * mp.exp(-x)
        slope = -(1 - m) / (1 + mp.exp(x)) - m * mp.exp(-x) + share * (mp.exp(-x) - mp.log1p(mp.exp(-x)))
    losses, (found, _) = slopes(poz.discopop.bind(beta=1.0, tau=tau), margin(z))
    close(losses[0], float(expected))
    close(found[0], float(slope))


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


@pytest.mark.parametrize("name", EXPONENTIALS)
def test_no_exponential_overflows(name):
    """Float32, any margin up to ten thousand nats, either way: finite losses and gradients."""
    sizes = [0.0, 1e-8, 1.0, 44.0, 59.999, 60.0, 61.0, 89.0, 800.0, 1e4]
    grid = torch.tensor([(-x, -y, -u, -v) for x in sizes for y in sizes for u, v in ((0, 0), (y, x), (800, 3))])
    one = torch.ones(len(grid))
    pairs = poz.Pairs(*grid.T.contiguous(), one, one, torch.ones(len(grid)))
    for params in EXPONENTIALS[name]:
        this = poz.zoo[name].bind(**params)
        losses, (chosen, rejected) = slopes(this, pairs)
        assert np.isfinite(losses).all(), params
        assert np.isfinite(chosen).all(), params
        assert np.isfinite(rejected).all(), params


def test_the_exponential_goes_on_straight_beyond_its_cap():
    h = np.array([-59.0, -60.0, -61.0, -80.0, -1e4])
    losses, (slope, _) = slopes(poz.gpo_link.bind(beta=1.0), margin(h))
    close(losses, [math.exp(59), *(math.exp(60) * (-59 - h[1:]))])
    close(slope[[0, 2, 3, 4]], [-math.exp(59), *[-math.exp(60)] * 3])


LENGTHS = [n for n, o in poz.zoo.items() if o.family is poz.Pairs and {"chosen_len", "rejected_len"} <= o.reads]


@pytest.mark.parametrize("name", [n for n in LENGTHS if n != "r_dpo"])
@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_an_empty_completion_counts_as_one_token(name, side):
    other = {"chosen": "rejected", "rejected": "chosen"}[side]
    fields = {side: np.zeros(1), f"ref_{side}": np.zeros(1), other: np.full(1, -4.0), f"ref_{other}": np.full(1, -3.0)}
    lens = {f"{side}_len": np.array([0]), f"{other}_len": np.array([2])}
    pairs = poz.Pairs(**fields, **lens)
    losses, gradients = slopes(poz.zoo[name], pairs)
    assert np.isfinite(losses).all()
    assert np.isfinite(gradients).all()
    one = pairs._replace(**{f"{side}_len": np.array([1])})
    np.testing.assert_array_equal(poz.zoo[name](one), poz.zoo[name](pairs))


BAD = {
    "exo without smoothing": (lambda: poz.exo.bind(label_smoothing=0.0), r"in \(0, 0.5\] for label_smoothing; got 0.0"),
    "robust at one half": (lambda: poz.robust_dpo.bind(label_smoothing=0.5), r"in \[0, 0.5\) for label_smoothing"),
    "discopop beyond one": (lambda: poz.discopop.bind(tau=1.5), r"in \(0, 1\] for tau; got 1.5"),
    "no alpha": (lambda: poz.f_dpo.bind(alpha=1.0), r"in \(0, 1\) for alpha; got 1.0"),
    "negative gap": (
        lambda: poz.odpo(margin([1.0, 2.0], margin=np.array([1.0, -0.5]))),
        r"needs margin >= 0 for offset='log'; got -0.5",
    ),
    "two completions": (
        lambda: poz.tpo(poz.Ranked(np.zeros((1, 2)), None, np.ones((1, 2)))),
        "needs 3 completions, gold, chosen and rejected in this order; got K = 2",
    ),
    "no samples for xpo": (lambda: poz.xpo(margin(1.0, calibration=np.zeros(0))), "got none"),
    "no samples for selm": (
        lambda: poz.selm(margin(1.0, calibration=np.zeros(0), ref_calibration=np.zeros(0))),
        "got none",
    ),
    "no gap": (lambda: poz.rebel(margin(1.0)), "`rebel` reads margin, which is missing"),
    "no entropy": (lambda: poz.mallows_dpo(margin(1.0)), "`mallows_dpo` reads entropy, which is missing"),
    "a clip of nothing": (lambda: poz.chi_po.bind(clip=0.0), "for clip; got 0.0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")
