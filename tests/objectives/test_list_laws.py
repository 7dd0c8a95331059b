"""Laws of the objectives on lists and of those that tie a batch together: identities, bounds, limits, and errors."""

import contextlib
import itertools
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
from poz.algorithms import beta_dpo as beta_state
from poz.algorithms import group_weights
from poz.objectives.pairs.amapo import amapo
from poz.objectives.pairs.aot import aot
from poz.objectives.pairs.aot_unpaired import aot_unpaired
from poz.objectives.pairs.beta_dpo import beta_dpo
from poz.objectives.pairs.dr_dpo import dr_dpo
from poz.objectives.pairs.gamma_po import gamma_po
from poz.objectives.pairs.gr_dpo import gr_dpo
from poz.objectives.pairs.lcpo import lcpo
from poz.objectives.ranked.all_pairs import all_pairs
from poz.objectives.ranked.lipo_lambda import lipo_lambda
from poz.objectives.ranked.listnet import listnet
from poz.objectives.ranked.mapl import mapl
from poz.objectives.ranked.plackett_luce import plackett_luce
from poz.objectives.ranked.ranklist import ranklist
from poz.objectives.ranked.rrhf import rrhf
from poz.objectives.ranked.s_dpo import s_dpo
from poz.testing.answers import reference

LISTS = (plackett_luce, listnet, lipo_lambda, s_dpo, all_pairs, ranklist)
ON_MARGINS = (aot, aot_unpaired, beta_dpo, dr_dpo, gr_dpo)
PER_TOKEN = (amapo, gamma_po)
SCORED = [o for o in poz.zoo.values() if o.family is poz.Ranked and "scores" in o.reads]
BACKENDS = {"numpy": np.asarray, "torch": torch.as_tensor, "jax": lambda x: jnp.asarray(x)}  # absent under mutants.py
SEEDS = st.integers(0, 2**32 - 1)


def by_name(objectives):
    return pytest.mark.parametrize("this", objectives, ids=[o.name for o in objectives])


def close(actual, expected, size=1.0):
    """A dozen roundings of 1e-16 on numbers of some tens of nats, with a margin of a hundred."""
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13 * size)


def draw_lists(seed, k=None, b=4, mask=False):
    """Lists with scores in strictly falling order, log-ratios of some nats, and the first entry valid."""
    rng = np.random.default_rng(seed)
    shape = (b, k or int(rng.integers(2, 6)))
    valid = rng.random(shape) < 0.7
    valid[:, 0] = True
    scores = np.cumsum(-rng.uniform(0.1, 1, shape), -1)
    return poz.Ranked(rng.normal(-20, 8, shape), rng.normal(-20, 8, shape), scores=scores, mask=valid if mask else None)


def draw_pairs(seed, b=None, spread=4.0):
    rng = np.random.default_rng(seed)
    b = b or int(rng.integers(1, 9))
    sides = rng.normal(-20, spread, (4, b))
    lens = rng.integers(1, 12, (2, b))
    return poz.Pairs(*sides, chosen_len=lens[0], rejected_len=lens[1], annotator=rng.integers(0, 2, b))


def as_pairs(lists):
    """The first two of each list."""
    return poz.Pairs(lists.logps[:, 0], lists.logps[:, 1], lists.ref_logps[:, 0], lists.ref_logps[:, 1])


def per_token(m):
    """Pairs of one-token completions with gap m."""
    m = np.asarray(m, float)
    return poz.Pairs(m, 0 * m, chosen_len=np.ones(len(m)), rejected_len=np.ones(len(m)))


def h_of(pairs):
    return (pairs.chosen - pairs.rejected) - (pairs.ref_chosen - pairs.ref_rejected)


def slope_of(objective, batch, field="chosen"):
    """Gradient of the sum of losses with respect to one field."""
    fields = {n: torch.as_tensor(np.array(x)) for n, x in batch._asdict().items() if x is not None}
    fields[field].requires_grad_()
    objective(type(batch)(**fields)).sum().backward()
    return fields[field].grad.numpy()


def softplus(x):
    return np.logaddexp(0, x)


def used(this):
    """Hyper-parameters that are not at an end where a part of the formula is gone."""
    return this.bind(skips=2.0, decay=0.7) if this is ranklist else this


# Lists


@given(seed=SEEDS, beta=st.floats(0.01, 2))
def test_lists_of_two_are_dpo(seed, beta):
    lists = draw_lists(seed, k=2)
    dpo = poz.dpo(as_pairs(lists), beta=beta)
    for this in (plackett_luce, s_dpo, ranklist, all_pairs):
        close(this(lists, beta=beta), dpo, size=30)
    close(ranklist(lists, beta=beta, aggregate="lse", skips=3.0), dpo, size=30)
    sure = lists._replace(scores=np.array([[50.0, 0.0]] * 4))  # e^-50 is no weight: InfoNCA with one-hot rewards
    close(listnet(sure, beta=beta), dpo, size=30)


@given(seed=SEEDS, k=st.integers(3, 6))
def test_softmax_dpo_is_the_first_stage_of_plackett_luce(seed, k):
    lists = draw_lists(seed, k=k, mask=True)
    close(s_dpo(lists, beta=0.3), plackett_luce(lists, beta=0.3, stages=1.0), size=10)
    lists = lists._replace(mask=None)
    all_but_last = plackett_luce(lists, beta=0.3, stages=float(k - 1))
    np.testing.assert_array_equal(all_but_last, plackett_luce(lists, beta=0.3))  # the last stage is 0
    tail = poz.Ranked(lists.logps[:, 2:], lists.ref_logps[:, 2:])
    two = plackett_luce(lists, beta=0.3, stages=2.0)
    close(two + plackett_luce(tail, beta=0.3), plackett_luce(lists, beta=0.3), size=30)


@pytest.mark.parametrize("stages", [None, 1.0, 2.0, 4.0])
def test_plackett_luce_is_a_distribution_over_orders(stages):
    """Σ over all orders of e^-loss is 1; with m of K stages every prefix is counted (K - m)! times."""
    lists = draw_lists(3, k=4, b=1)
    total = sum(
        np.exp(-plackett_luce(poz.Ranked(lists.logps[:, o], lists.ref_logps[:, o]), beta=0.2, stages=stages))
        for o in map(list, itertools.permutations(range(4)))
    )
    close(total, 1.0 if stages is None else math.factorial(4 - int(stages)))


@given(seed=SEEDS)
def test_a_repeated_rejected_completion_adds_its_mass(seed):
    lists = draw_lists(seed, k=3)
    twice = poz.Ranked(lists.logps[:, [0, 1, 2, 2]], lists.ref_logps[:, [0, 1, 2, 2]])
    s = 0.3 * (lists.logps - lists.ref_logps)
    expected = softplus(np.logaddexp(s[:, 1] - s[:, 0], s[:, 2] - s[:, 0] + math.log(2)))
    close(s_dpo(twice, beta=0.3), expected, size=10)
    assert (s_dpo(twice, beta=0.3) > s_dpo(lists, beta=0.3)).all()


@by_name(LISTS)
@given(seed=SEEDS, shift=st.floats(-50, 50))
def test_lists_know_differences_of_log_ratios_only(this, seed, shift):
    lists = draw_lists(seed, mask=True)
    moved = lists._replace(logps=lists.logps + shift)
    # A shift of 50 nats costs 1e-14 in each of at most 25 gaps; a loss is at most 2⁰ · 1 times as steep as its gap.
    np.testing.assert_allclose(used(this)(moved), used(this)(lists), rtol=1e-11, atol=1e-11)
    both = lists._replace(logps=lists.logps + shift, ref_logps=lists.ref_logps + shift)
    np.testing.assert_allclose(used(this)(both), used(this)(lists), rtol=1e-11, atol=1e-11)


@by_name(LISTS)
@given(seed=SEEDS)
def test_gradients_of_a_list_sum_to_zero(this, seed):
    slopes = slope_of(used(this), draw_lists(seed, mask=True), "logps")
    # Each of at most 25 terms is below 1 and rounded once or twice.
    np.testing.assert_allclose(slopes.sum(-1), 0, atol=1e-13)


@by_name(LISTS)
@given(seed=SEEDS)
def test_padding_is_as_if_it_were_not_there(this, seed):
    lists = draw_lists(seed, mask=True)
    for poison in (math.nan, math.inf, -math.inf):
        spoilt = lists._replace(
            **{n: np.where(lists.mask, getattr(lists, n), poison) for n in ("logps", "ref_logps", "scores")}
        )
        losses, slopes = used(this)(spoilt), slope_of(used(this), spoilt, "logps")
        assert (slopes[~lists.mask] == 0).all()
        assert np.isfinite(slopes).all()
        for row, valid in enumerate(lists.mask):
            alone = poz.Ranked(*(None if x is None else x[row : row + 1, valid] for x in lists[:4]))
            # One rounding more or less, by another order of the sum.
            np.testing.assert_allclose(used(this)(alone), losses[row : row + 1], rtol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@by_name(SCORED)
def test_a_list_with_an_unknown_score_has_an_unknown_loss(this, backend):
    """The others are as they were, whatever stands at their padding."""
    lists = draw_lists(7, k=3, b=5)._replace(lengths=np.full((5, 3), 5.0))
    lists = lists._replace(mask=np.array([[True] * 3] * 3 + [[True, False, True]] * 2))
    scores, unknown = lists.scores.copy(), np.array([True, True, False, True, False])
    scores[0], scores[1, 1], scores[3, 2], scores[~lists.mask] = [math.nan] * 4

    def losses(scores):
        fields = {n: x for n, x in lists._replace(scores=scores)._asdict().items() if n in this.reads | this.optional}
        with jax.enable_x64(True) if backend == "jax" else contextlib.nullcontext():
            found = np.asarray(this(poz.Ranked(**{n: BACKENDS[backend](x) for n, x in fields.items()})))
        return found, reference(this, poz.Ranked(**fields))[0], slope_of(this, poz.Ranked(**fields), "logps")

    for known, given_ in zip(losses(lists.scores), losses(scores), strict=True):
        assert given_.ndim == 2 or np.isnan(given_[unknown]).all()
        np.testing.assert_array_equal(given_[~unknown], known[~unknown])
    assert (losses(scores)[2][~lists.mask] == 0).all()


@by_name([o for o in SCORED if o.name in ("cpl_ranking", "all_pairs", "rrhf")])
def test_an_infinite_score_is_a_rank(this):
    lists = draw_lists(7, k=3)._replace(lengths=np.full((4, 3), 5.0))
    lists = poz.Ranked(**{n: x for n, x in lists._asdict().items() if n in this.reads})
    ends = lists._replace(scores=np.tile([math.inf, 0.0, -math.inf], (4, 1)))
    np.testing.assert_array_equal(this(ends), this(lists))
    np.testing.assert_array_equal(slope_of(this, ends, "logps"), slope_of(this, lists, "logps"))


@by_name(LISTS)
def test_lists_of_one_and_of_none_cost_nothing(this):
    lists = draw_lists(0, k=3)._replace(mask=np.array([[True, False, False]] * 2 + [[False] * 3] * 2))
    np.testing.assert_array_equal(used(this)(lists), 0)
    np.testing.assert_array_equal(slope_of(used(this), lists, "logps"), 0)


@by_name([plackett_luce, s_dpo, ranklist])
def test_the_tails_keep_their_digits(this):
    """A list that is as wanted costs e^-gap, not a rounding of 0, and pulls as much."""
    lists = poz.Ranked(np.array([[0.0, -60.0]]), np.zeros((1, 2)))
    assert this(lists, beta=1.0)[0] == pytest.approx(math.exp(-60), rel=1e-13)
    assert slope_of(this.bind(beta=1.0), lists, "logps")[0, 0] == pytest.approx(-math.exp(-60), rel=1e-13)


@given(seed=SEEDS)
def test_listnet_is_least_where_the_policy_has_the_rewards(seed):
    lists = draw_lists(seed, k=4)
    best = lists._replace(logps=lists.ref_logps + lists.scores / (0.5 * 0.8))
    q = np.exp(lists.scores / 0.8)
    q /= q.sum(-1, keepdims=True)
    this = listnet.bind(beta=0.5, tau=0.8)
    close(this(best), -(q * np.log(q)).sum(-1), size=10)
    np.testing.assert_allclose(slope_of(this, best, "logps"), 0, atol=1e-13)
    assert (this(lists) > this(best)).all()


@pytest.mark.parametrize(("discount", "log"), [("log1p", math.log), ("log2", math.log2)])
@given(seed=SEEDS)
def test_lipo_lambda_of_two_is_weighted_dpo(discount, log, seed):
    lists = draw_lists(seed, k=2)
    weight = np.abs(2 ** lists.scores[:, 0] - 2 ** lists.scores[:, 1]) * abs(1 / log(2) - 1 / log(3))
    close(lipo_lambda(lists, beta=0.3, discount=discount), weight * poz.dpo(as_pairs(lists), beta=0.3), size=10)
    close(lipo_lambda(lists, discount="log2"), lipo_lambda(lists) * math.log(2))


def test_ranks_of_lipo_lambda_follow_the_policy_and_ties_the_list():
    def weights(s):
        lists = poz.Ranked(np.array([s]), np.zeros((1, 3)), scores=np.array([[2.0, 1.0, 0.0]]))
        return -slope_of(lipo_lambda.bind(beta=1e-9), lists, "logps")[0] / 0.5e-9

    def expected(ranks):
        worth, gain = 1 / np.log1p(ranks), np.array([4.0, 2.0, 1.0])
        lam = np.abs(gain[:, None] - gain) * np.abs(worth[:, None] - worth)
        return (np.triu(lam) - np.tril(lam)).sum(-1)

    # A slope of β λ / 2 to the first order in β s = 1e-9.
    np.testing.assert_allclose(weights([1.0, 2.0, 3.0]), expected([3, 2, 1]), rtol=1e-8)
    np.testing.assert_allclose(weights([1.0, 1.0, 3.0]), expected([2, 3, 1]), rtol=1e-8)


@given(seed=SEEDS)
def test_all_pairs_is_the_mean_of_dpo_over_pairs(seed):
    lists = draw_lists(seed, k=4)
    pairs = [poz.Pairs(*(x[:, k] for x in lists[:2] for k in (i, j))) for i, j in itertools.combinations(range(4), 2)]
    pairs = [poz.Pairs(p[0], p[1], p[2], p[3]) for p in pairs]
    close(all_pairs(lists, beta=0.3), np.mean([poz.dpo(p, beta=0.3) for p in pairs], 0), size=10)
    hinge = [np.maximum(1 - 0.3 * h_of(p), 0) for p in pairs]
    close(all_pairs(lists, beta=0.3, link="hinge"), np.mean(hinge, 0), size=10)
    np.testing.assert_array_equal(all_pairs(lists._replace(scores=0 * lists.scores)), 0)
    np.testing.assert_array_equal(lipo_lambda(lists._replace(scores=0 * lists.scores)), 0)


@given(seed=SEEDS, skips=st.integers(1, 5), decay=st.floats(0.05, 1))
def test_ranklist_by_its_sums(seed, skips, decay):
    lists = draw_lists(seed, k=5)
    s = 0.2 * (lists.logps - lists.ref_logps)
    expected = np.zeros(4)
    for k in range(1, min(skips, 4) + 1):
        expected += decay ** (k - 1) * softplus(s[:, k:] - s[:, :-k]).sum(-1)
    close(ranklist(lists, beta=0.2, skips=float(skips), decay=decay), expected, size=30)


@given(seed=SEEDS, skips=st.integers(1, 5))
def test_one_log_bounds_the_sum_of_logs_from_below(seed, skips):
    lists = draw_lists(seed, k=5)
    lower = ranklist(lists, skips=float(skips), aggregate="lse")
    upper = ranklist(lists, skips=float(skips))
    assert (lower <= upper * (1 + 1e-14)).all()  # they are one number for skips = 1
    if skips == 1:
        close(lower, upper)


@given(SEEDS, st.floats(-3, 3))
def test_levels_of_mapl_differ_in_what_they_ignore(seed, shift):
    lists = draw_lists(seed, k=4)
    prompt, response = np.array([0, 0, shift, shift]), np.array([0, shift, 0, shift])

    def change(of, **weights):
        before, after = (mapl(each, beta=0.5, **weights) for each in (lists, lists._replace(logps=lists.logps + of)))
        return after - before

    # A shift f(x) is what a partition function is, and g(y) is what a dull response has
    pair = change(response, intra_weight=0.0, inter_weight=0.0)
    close(change(response, intra_weight=2.0, inter_weight=3.0), pair, size=30)
    close(change(prompt, intra_weight=0.0, inter_weight=3.0), np.zeros(len(lists.logps)), size=30)
    d = lists.logps - lists.ref_logps
    intra = 0.5 * (d[:, 0] - d[:, 2])
    close(change(prompt, inter_weight=3.0), softplus(0.5 * shift - intra) - softplus(-intra), size=30)


def test_equal_log_ratios_cost_log_two_a_pair():
    lists = poz.Ranked(np.full((1, 4), -3.0), np.full((1, 4), -5.0))
    close(ranklist(lists, skips=2.0), 5 * math.log(2))
    close(ranklist(lists, skips=2.0, aggregate="lse"), 2 * math.log(3) + math.log(2))
    close(plackett_luce(lists), math.log(24))
    close(s_dpo(lists), math.log(4))


# Batches


@by_name(ON_MARGINS)
@given(seed=SEEDS)
def test_one_pair_alone_is_dpo(this, seed):
    pairs = draw_pairs(seed, b=1)
    bound = this.bind(weights=(1.0,)) if this is gr_dpo else this
    bound = this.bind(alpha=0.0) if this is beta_dpo else bound
    pairs = pairs._replace(annotator=np.array([0]))
    close(bound(pairs, beta=0.1), poz.dpo(pairs, beta=0.1))


@by_name(PER_TOKEN)
@given(seed=SEEDS)
def test_one_pair_alone_is_simpo(this, seed):
    pairs = draw_pairs(seed, b=1)
    gamma = this.values.get("gamma", 0.0)
    close(this(pairs), poz.simpo(pairs, beta=2.5, gamma=gamma), size=100)


@by_name((*ON_MARGINS, *PER_TOKEN))
@given(seed=SEEDS)
def test_the_order_of_the_batch_does_not_matter(this, seed):
    pairs = draw_pairs(seed)
    order = np.random.default_rng(seed).permutation(len(pairs.chosen))
    moved = poz.Pairs(**{n: x[order] for n, x in pairs._asdict().items() if x is not None})
    losses = this(pairs)
    # Another order of a sum, and AMaPO's margin is as steep as it is large.
    np.testing.assert_allclose(this(moved), losses[order], rtol=1e-9, atol=1e-12)


@by_name((*ON_MARGINS, *PER_TOKEN))
def test_what_ties_the_batch_together_is_declared_and_true(this):
    pairs = draw_pairs(5, b=6)
    halves = [
        poz.Pairs(**{n: x[i] for n, x in pairs._asdict().items() if x is not None}) for i in ([0, 1], [2, 3, 4, 5])
    ]
    assert this.coupled
    assert np.abs(np.concatenate([this(h) for h in halves]) - this(pairs)).max() > 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
@by_name((*ON_MARGINS, *PER_TOKEN))
def test_a_batch_of_none_has_no_losses(this, backend):
    pairs = draw_pairs(0, b=1)
    losses = this(poz.Pairs(**{n: BACKENDS[backend](x[:0]) for n, x in pairs._asdict().items() if x is not None}))
    assert losses.shape == (0,)


@by_name((aot, aot_unpaired))
@given(seed=SEEDS, eps=st.floats(0, 0.5))
def test_sorted_pairing_is_the_cheapest(this, seed, eps):
    """The loss is convex in the margin, so no other pairing, DPO's own neither, has a smaller sum."""
    pairs = draw_pairs(seed)
    optimal = this(pairs, beta=0.2, label_smoothing=eps).mean()
    assert optimal <= poz.dpo(pairs, beta=0.2, label_smoothing=eps).mean() * (1 + 1e-14) + 1e-14


def test_optimal_transport_depends_on_the_split():
    # Policy gaps 0, 1, 2, 3 against reference gaps 3, 0, 2, 1.
    pairs = poz.Pairs(np.array([0.0, 1, 2, 3]), np.zeros(4), np.array([3.0, 0, 2, 1]), np.zeros(4))

    def mean(size):
        parts = [poz.Pairs(*(x[i : i + size] for x in pairs[:4])) for i in range(0, 4, size)]
        return np.mean([aot(part, beta=1.0).mean() for part in parts])

    close(mean(4), math.log(2))  # sorted, they are equal
    close(mean(2), np.mean([math.log(2), softplus(2), softplus(-1), softplus(-1)]))
    close(mean(1), np.mean([softplus(3), softplus(-1), math.log(2), softplus(-2)]))
    assert mean(4) < mean(2) < mean(1)


def test_optimal_transport_gives_each_pair_its_own_loss_and_the_partner_its_gradient():
    pairs = poz.Pairs(np.array([2.0, 0.0, 1.0]), np.zeros(3), np.array([10.0, 30.0, 20.0]), np.zeros(3))
    close(aot(pairs, beta=0.1), softplus(-0.1 * np.array([2 - 30, 0 - 10, 1 - 20])))
    pull = 0.1 / (1 + np.exp(0.1 * np.array([-28.0, -10.0, -19.0])))
    close(slope_of(aot.bind(beta=0.1), pairs), -pull)
    close(slope_of(aot.bind(beta=0.1), pairs, "ref_chosen"), pull[[1, 0, 2]])  # owned by places 10, 30, 20
    swapped = poz.Pairs(np.array([2.0, 0.0, 1.0]), np.array([10.0, 30.0, 20.0]), np.zeros(3), np.zeros(3))
    close(aot_unpaired(swapped, beta=0.1), softplus(-0.1 * np.array([-28.0, -10.0, -19.0])))
    tied = poz.Pairs(np.zeros(2), np.zeros(2), np.array([5.0, 1.0]), np.zeros(2))
    close(aot(tied, beta=1.0), softplus(np.array([1.0, 5.0])))  # equal gaps keep their order


@given(seed=SEEDS, beta=st.floats(0.01, 2))
def test_dynamic_beta(seed, beta):
    pairs = draw_pairs(seed)
    close(beta_dpo(pairs, beta=beta, alpha=0.0), poz.dpo(pairs, beta=beta), size=30)
    same = np.full(len(pairs.chosen), 2.0)
    at_two = poz.Pairs(same, *[0 * same] * 3)
    steep = [-np.log(np.expm1(beta_dpo(at_two, beta=beta, mean_gap=m)))[0] / 2 for m in (2.5, 2.0, 0.0, -1.0)]
    # Solving the loss for β_B at β_B h up to 12 loses e^12 = 2e5 roundings.
    np.testing.assert_allclose(steep, beta * (1 + 0.6 * np.array([-0.5, 0, 2, 3])), rtol=1e-9)


def test_dynamic_beta_has_a_floor_and_no_gradient():
    low = poz.Pairs(np.array([-50.0, -10.0]), *[np.zeros(2)] * 3)
    close(beta_dpo(low), poz.dpo(low, beta=0.001))
    edge = poz.Pairs(np.array([-1 / 0.6 - 1e-9]), *[np.zeros(1)] * 3)
    close(beta_dpo(edge), poz.dpo(edge, beta=0.001))  # reached where the mean lags by 1/α
    high = poz.Pairs(np.array([1.0, 3.0]), *[np.zeros(2)] * 3)
    steep = 0.1 * (1 + 0.6 * 2)
    close(slope_of(beta_dpo, high), -steep / (1 + np.exp(steep * np.array([1.0, 3.0]))))


@given(seed=SEEDS, robustness=st.floats(0.05, 20))
def test_robust_dpo_lies_below_the_mean_and_above_the_least(seed, robustness):
    pairs = draw_pairs(seed)
    dpo, robust = poz.dpo(pairs, beta=0.3), dr_dpo(pairs, beta=0.3, robustness=robustness)
    assert (robust == robust[0]).all()
    assert dpo.min() * (1 - 1e-14) <= robust[0] <= dpo.mean() * (1 + 1e-14) + 1e-14
    weight = np.exp(-(dpo - dpo.min()) / robustness)
    expected = slope_of(poz.dpo.bind(beta=0.3), pairs) * weight / weight.mean()
    close(slope_of(dr_dpo.bind(beta=0.3, robustness=robustness), pairs), expected)


@given(seed=SEEDS)
def test_robust_dpo_with_all_trust_is_dpo(seed):
    pairs = draw_pairs(seed)
    dpo = poz.dpo(pairs, beta=0.3)
    for robustness in (1e6, 1e12):
        # What is left is the variance over 2 β', below 0.5 * 20² / β'.
        np.testing.assert_allclose(
            dr_dpo(pairs, beta=0.3, robustness=robustness), dpo.mean(), atol=200 / robustness + 1e-14
        )


def test_robust_dpo_ignores_an_impossible_pair():
    pairs = poz.Pairs(np.array([-np.inf, 1.0]), *[np.zeros(2)] * 3)
    close(dr_dpo(pairs, beta=1.0), softplus(-1.0) + math.log(2))
    alone = poz.Pairs(np.array([-np.inf]), *[np.zeros(1)] * 3)
    assert dr_dpo(alone)[0] == np.inf


@pytest.mark.parametrize("gap", [0.1, -0.7, 1 / 3, 0.0])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_equal_pairs_get_no_extra_margin(gap, count):
    """AMaPO with S = 0; the mean of equal numbers may be rounded, which must not count as a spread."""
    pairs = per_token(np.full(count, gap))
    close(amapo(pairs), softplus(-2.5 * gap))


def test_extra_margin_of_pairs_below_the_mean():
    m = np.array([1.0, 2.0, 6.0])
    extra = np.array([2.5 * math.exp(2 * 3 / math.sqrt(7)), 2.5 * math.exp(3 / math.sqrt(7)), 0])
    close(amapo(per_token(m)), softplus(extra - 2.5 * m), size=100)
    close(slope_of(amapo, per_token(m)), -2.5 / (1 + np.exp(2.5 * m - extra)), size=10)
    negative = amapo(per_token(-m))[2]  # the mean is -3: the margin of the last is below β
    assert 2.5 * 6 < np.log(np.expm1(negative)) < 2.5 * 7


def margins(pairs, beta=2.5, **params):
    """The target margins of γ-PO, read off its losses."""
    reward = beta * (pairs.chosen / pairs.chosen_len - pairs.rejected / pairs.rejected_len)
    return reward + np.log(np.expm1(gamma_po(pairs, beta=beta, **params)))


@given(seed=SEEDS, gamma=st.floats(0.01, 5), tau=st.floats(0.2, 20), count=st.integers(2, 9))
def test_target_margins_are_handed_out_by_reward(seed, gamma, tau, count):
    m = np.sort(np.random.default_rng(seed).normal(0, 1, count))
    found = margins(per_token(m), gamma=gamma, tau=tau)
    # Read off losses whose logits reach -10, where e^-10 of the digits are left.
    np.testing.assert_allclose(found.mean(), gamma, rtol=1e-9)
    assert (np.diff(found) > -1e-10).all()
    # The condition that defines them.
    level = tau * np.log(found / gamma) + gamma / (1 + np.exp(2.5 * m - found))
    np.testing.assert_allclose(level, level.mean(), atol=1e-7 * tau)


@pytest.mark.parametrize("above", [0.0, 2.0])  # pairs well above their margins put the level of the condition near 0
@pytest.mark.parametrize(("gamma", "tau"), [(1.0, 10.0), (5.0, 0.5), (0.3, 0.01), (20.0, 0.2)])
def test_target_margins_against_25_digits(gamma, tau, above):
    m = np.array([-1.5, -0.2, 0.0, 0.4, 3.0]) + above
    with mp.workdps(25):
        g, t, r = mp.mpf(gamma), mp.mpf(tau), [mp.mpf(2.5) * mp.mpf(float(x)) for x in m]

        def solve(level, ri):
            low, high = (level - g) / t, level / t
            for _ in range(84):
                middle = (low + high) / 2
                over = t * middle + g / (1 + mp.exp(ri - g * mp.exp(middle))) > level
                low, high = (low, middle) if over else (middle, high)
            return mp.exp(low)

        low, high = mp.zero, g
        for _ in range(84):
            middle = (low + high) / 2
            over = mp.fsum(solve(middle, ri) for ri in r) > len(r)
            low, high = (low, middle) if over else (middle, high)
        expected = [float(mp.log(1 + mp.exp(g * solve(low, ri) - ri))) for ri in r]
    # The solution moves by γ/τ-fold the rounding of its condition: 20 / 0.2 here at most.
    this, batch = gamma_po.bind(gamma=gamma, tau=tau), per_token(m)
    for losses in (this(batch), reference(this, batch)[0]):
        np.testing.assert_allclose(losses, expected, rtol=1e-12)


@given(seed=SEEDS, gamma=st.floats(0, 5))
def test_even_target_margins_are_simpo(seed, gamma):
    pairs = draw_pairs(seed)
    even = gamma_po(pairs, gamma=gamma, tau=1e12)  # uneven by γ/τ = 5e-12 of γ
    np.testing.assert_allclose(even, poz.simpo(pairs, beta=2.5, gamma=gamma), rtol=1e-10, atol=1e-10)
    close(gamma_po(pairs, gamma=0.0), poz.simpo(pairs, beta=2.5, gamma=0.0), size=100)
    same = per_token(np.full(5, 0.3))
    close(gamma_po(same, gamma=gamma, tau=0.5), poz.simpo(same, beta=2.5, gamma=gamma))


@given(seed=SEEDS)
def test_group_robust_dpo(seed):
    pairs = draw_pairs(seed, b=6)._replace(annotator=np.array([0, 1, 1, 0, 1, 0]))
    close(gr_dpo(pairs), poz.dpo(pairs), size=10)  # balanced, and equal weights
    uneven = pairs._replace(annotator=np.array([0, 1, 1, 2, 1, 0]))
    dpo = poz.dpo(uneven)
    by_group = [dpo[uneven.annotator == g].mean() for g in range(3)]
    close(gr_dpo(uneven, weights=(0.5, 0.2, 0.3)).mean(), np.dot([0.5, 0.2, 0.3], by_group), size=10)
    all_on_one = gr_dpo(uneven, weights=(0.0, 1.0, 0.0))
    np.testing.assert_array_equal(all_on_one[uneven.annotator != 1], 0)


# State


@pytest.mark.parametrize(
    "library",
    [np.asarray, lambda x: torch.tensor(x, requires_grad=x.dtype.kind == "f"), lambda x: jnp.asarray(x)],
    ids=["numpy", "torch", "jax"],
)
def test_the_loop_of_group_weights_runs_as_it_is_written(library):
    sides = -np.random.default_rng(0).exponential(3, (4, 6))
    batch = poz.Pairs(*map(library, sides), annotator=library(np.array([0, 1, 2, 2, 0, 1])))
    weights = group_weights.init(groups=3)
    for _ in range(2):
        losses = poz.gr_dpo(batch, weights=weights)
        assert losses.shape == (6,)
        weights = group_weights.update(weights, poz.dpo(batch), batch.annotator)
    close(weights.sum(), 1)
    assert weights.argmax() == np.argmax([poz.dpo(poz.Pairs(*sides))[here].mean() for here in ([0, 4], [1, 5], [2, 3])])


def test_weights_may_be_numbers_of_numpy():
    plain = poz.mnpo.bind(weights=(0.5, 0.25), tau=0.0)
    for given_ in (np.array([0.5, 0.25]), tuple(np.array([0.5, 0.25]))):
        assert poz.mnpo.bind(weights=given_, tau=0.0).values["weights"] == plain.values["weights"] == (0.5, 0.25)
    with pytest.raises(ValueError, match="a tuple of numbers >= 0"):
        poz.mnpo.bind(weights=np.array([-0.5, 0.25]))


def test_group_weights_move_to_the_worst_group():
    weights = group_weights.init(3)
    losses, group = np.array([1.0, 3.0, 0.5, 0.5]), np.array([0, 0, 1, 1])
    once = group_weights.update(weights, losses, group, eta=0.5)
    raised = np.exp(0.5 * np.array([2.0, 0.5, 0.0]))
    close(once, raised / raised.sum())
    close(group_weights.update(weights, losses, group, eta=0.0), weights)
    for _ in range(200):
        weights = group_weights.update(weights, losses, group, eta=0.5)
    close(weights, [1, 0, 0])
    close(group_weights.update(weights, 1e6 * losses, group, eta=1.0), [1, 0, 0])


def test_running_mean_and_spread_of_the_gap():
    state = beta_state.update(beta_state.init(), [1.0, 3.0])
    close(state, (0.2, 0.1 * math.sqrt(2)))
    close(beta_state.update(state, [5.0]), (0.68, 0.09 * math.sqrt(2)))
    close(beta_state.update(state, [1.0, 3.0], momentum=0.0), (2.0, math.sqrt(2)))


def test_usual_pairs_are_kept():
    state, gaps = beta_state.State(1.0, 0.5), np.array([1.0, 1.2, 0.7, 1.1, 40.0])
    kept = [beta_state.keep(state, gaps, np.random.default_rng(seed)) for seed in range(50)]
    assert all(k.tolist() == [0, 1, 2, 3] for k in kept)  # e^-3000 underflows, and is still the last
    assert beta_state.keep(state, gaps, np.random.default_rng(0), share=1.0).tolist() == [0, 1, 2, 3, 4]
    assert len(beta_state.keep(beta_state.init(), np.zeros(10), np.random.default_rng(0))) == 8
    # One of two with weights 1 and e^-1/2: a share of 0.622, ± 3 standard deviations of 4000 draws.
    rng = np.random.default_rng(1)
    first = [beta_state.keep(beta_state.State(0.0, 1.0), [0.0, 1.0], rng, share=0.5)[0] == 0 for _ in range(4000)]
    assert np.mean(first) == pytest.approx(1 / (1 + math.exp(-0.5)), abs=3 * math.sqrt(0.235 / 4000))


# Errors

LIST = np.array([[-1.0, -2.0, -3.0]])
ONE = np.array([-1.0, -2.0])
BAD = {
    "a half stage": (lambda: plackett_luce.bind(stages=1.5), "whole number of stages; got 1.5. Take 2, or None"),
    "no stage": (lambda: plackett_luce.bind(stages=0.0), r"number in \[1, inf\) or None for stages; got 0.0"),
    "a half skip": (lambda: ranklist.bind(skips=2.5), "whole number of skips; got 2.5. Take 2"),
    "decay of one log": (
        lambda: ranklist.bind(aggregate="lse", decay=0.5),
        "no decay for aggregate='lse'; got 0.5. Leave it 1, or use aggregate='sum'",
    ),
    "three of mapl": (lambda: mapl(poz.Ranked(LIST, LIST)), "needs 4 log-probs, .*; got K = 3"),
    "worst first": (
        lambda: rrhf(poz.Ranked(LIST, lengths=0 * LIST + 1, scores=LIST[:, ::-1])),
        r"`rrhf` needs scores in descending order, best first; row \(0,\) rises at position 1. Sort the list",
    ),
    "a table of reliabilities": (
        lambda: lcpo(poz.Pairs(ONE, ONE, ONE, ONE, annotator=np.array([0, 1])), reliability=np.full((2, 3), 0.9)),
        r"`lcpo` needs one reliability, or one per annotator; got shape \(2, 3\)",
    ),
    "no scores": (lambda: listnet(poz.Ranked(LIST, LIST)), "`listnet`.*scores"),
    "no reference": (lambda: s_dpo(poz.Ranked(LIST)), "`s_dpo`.*ref_logps"),
    "no weights": (lambda: gr_dpo.bind(weights=None), "one weight per group; got weights=None"),
    "a group too many": (
        lambda: gr_dpo(poz.Pairs(ONE, ONE, ONE, ONE, annotator=np.array([0, 2]))),
        r"`gr_dpo` has 2 weights, so annotator lies in 0..1; got 0..2",
    ),
    "no floor": (lambda: beta_dpo.bind(floor=0.0), "for floor; got 0.0. Published are"),
    "no robustness": (lambda: dr_dpo.bind(robustness=0.0), "for robustness; got 0.0. Published are"),
    "no lengths": (lambda: amapo(poz.Pairs(ONE, ONE)), "`amapo`.*chosen_len"),
    "a step back": (lambda: group_weights.update([1.0], ONE, [0, 0], eta=-1.0), "eta must be at least 0"),
    "no groups": (lambda: group_weights.init(0), "groups must be at least 1; got 0"),
    "a group without a weight": (lambda: group_weights.update([1.0], ONE, [0, 1]), "1 weights, so annotator lies in"),
    "other shapes": (lambda: group_weights.update([1.0], ONE, [0]), r"one shape; got \(2,\) and \(1,\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_a_sentence(name):
    call, sentence = BAD[name]
    with pytest.raises(ValueError, match=sentence):
        call()
