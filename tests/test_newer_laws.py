"""Laws of mDPO, alpha-DPO, ConfPO, reward partitioning, AQL, AQFL and PFL: identities, bounds, limits, and errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import poz

SEEDS = st.integers(0, 2**32 - 1)
BETAS = st.floats(0.05, 2)
ALPHA = {"beta": 2.0, "gamma_beta_ratio": 0.3, "alpha": 0.2}


def close(actual, expected, size=1.0):
    """A dozen roundings of 1e-16 on numbers of some tens of nats, with a margin of a hundred."""
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13 * size)


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def present(batch):
    return {name: x for name, x in batch._asdict().items() if x is not None}


def margin(x):
    """Pairs whose log-ratio margin is x."""
    x = np.atleast_1d(np.asarray(x, float))
    return poz.Pairs(x, *[0 * x] * 3)


def pairs_of(seed, b=None):
    """Pairs of several tokens near a reference, with unequal gaps."""
    rng = np.random.default_rng(seed)
    b = b or int(rng.integers(2, 9))
    lens = rng.integers(1, 12, (2, b))
    ref = rng.normal(-1.5, 0.5, (2, b)) * lens
    policy = ref + rng.normal(0, 0.5, (2, b)) * lens
    return poz.Pairs(*policy, *ref, chosen_len=lens[0], rejected_len=lens[1])


def taken(pairs, index):
    return poz.Pairs(**{name: x[index] for name, x in present(pairs).items()})


def gaps(pairs):
    """Chosen less rejected in mean log-prob, under the policy and under the reference."""
    return [
        getattr(pairs, f"{of}chosen") / pairs.chosen_len - getattr(pairs, f"{of}rejected") / pairs.rejected_len
        for of in ("", "ref_")
    ]


def slopes(objective, batch, *fields):
    """The losses, and the gradient of their sum by field."""
    given_ = {name: torch.as_tensor(np.array(x)) for name, x in present(batch).items()}
    for name in fields:
        given_[name].requires_grad_()
    losses = objective(type(batch)(**given_))
    moved = [given_[name] for name in fields]
    gradients = torch.autograd.grad(losses.sum(), moved, allow_unused=True, materialize_grads=True)
    return losses.detach().numpy(), *[gradient.numpy() for gradient in gradients]


# Multimodal DPO


def corrupted(seed):
    rng = np.random.default_rng(seed)
    return poz.Ranked(*rng.normal(-20, 4, (2, int(rng.integers(1, 6)), 3)))


@given(seed=SEEDS, beta=BETAS)
def test_a_corruption_that_changes_nothing_leaves_dpo_and_the_anchor(seed, beta):
    lists = corrupted(seed)
    a = lists.logps[:, 0] - lists.ref_logps[:, 0]
    lists.logps[:, 2] = lists.ref_logps[:, 2] + a
    pairs = poz.Pairs(lists.logps[:, 0], lists.logps[:, 1], lists.ref_logps[:, 0], lists.ref_logps[:, 1])
    close(poz.mdpo(lists, beta=beta), poz.dpo(pairs, beta=beta) + math.log(2) + softplus(-beta * a), size=10)


@given(seed=SEEDS, beta=BETAS, delta=st.floats(0, 5))
def test_mdpo_treats_the_rejected_and_the_corrupted_alike_and_anchors_the_chosen(seed, beta, delta):
    lists = corrupted(seed)
    this = poz.mdpo.bind(beta=beta, delta=delta)
    exchanged = poz.Ranked(lists.logps[:, [0, 2, 1]], lists.ref_logps[:, [0, 2, 1]])
    close(this(exchanged), this(lists), size=10)
    # What all three share moves the anchor alone, and δ moves it the other way.
    x = beta * (lists.logps[:, 0] - lists.ref_logps[:, 0])
    close(
        this(lists._replace(logps=lists.logps + 3)) - this(lists),
        softplus(delta - x - 3 * beta) - softplus(delta - x),
        100,
    )
    close(this(lists) - poz.mdpo(lists, beta=beta), softplus(delta - x) - softplus(-x), size=100)


def test_the_slopes_of_mdpo_at_a_point():
    """(a, b, c) = (log 3, 0, 0) at β = 1 and δ = log 9: σ(-log 3) = 1/4 twice, and σ(log 9 - log 3) = 3/4."""
    third = math.log(3)
    lists = poz.Ranked(np.array([[third - 5, -4.0, -7.0]]), np.array([[-5.0, -4.0, -7.0]]))
    losses, policy, reference = slopes(poz.mdpo.bind(beta=1.0, delta=2 * third), lists, "logps", "ref_logps")
    close(losses, 2 * math.log(4 / 3) + math.log(4))
    close(policy, [[-1.25, 0.25, 0.25]])
    close(reference, [[1.25, -0.25, -0.25]])


# Alpha-DPO


@given(seed=SEEDS, beta=st.floats(0.5, 10), ratio=st.floats(0, 1))
def test_alpha_dpo_without_alpha_is_simpo(seed, beta, ratio):
    pairs = pairs_of(seed)
    simpo = poz.simpo(pairs, beta=beta, gamma_beta_ratio=ratio)
    close(poz.alpha_dpo(pairs, beta=beta, gamma_beta_ratio=ratio, alpha=0.0), simpo, size=10)
    # One pair, or pairs that moved alike, are as usual as their batch.
    close(poz.alpha_dpo(taken(pairs, [1]), beta=beta, gamma_beta_ratio=ratio), simpo[[1]], size=10)
    for count in (2, 7, 49):  # the mean of equal numbers may be rounded away from them
        equal = [1] * count
        close(poz.alpha_dpo(taken(pairs, equal), beta=beta, gamma_beta_ratio=ratio), simpo[equal], size=10)


def targets(pairs, **given_):
    """The target margins, from the losses."""
    losses = poz.alpha_dpo(pairs, **{**ALPHA, **given_})
    return gaps(pairs)[0] + np.log(np.expm1(losses)) / ALPHA["beta"]


@given(seed=SEEDS)
def test_the_targets_of_alpha_dpo_spread_evenly_around_gamma(seed):
    """In units of γ and α they have the mean 0 and the variance 1, and the reference counts up to a constant only."""
    pairs = pairs_of(seed)
    found = targets(pairs)
    # log(e^l - 1) at losses from e^-8 on loses three digits
    np.testing.assert_allclose(found.mean(), ALPHA["gamma_beta_ratio"], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.std(ddof=1), ALPHA["alpha"], rtol=1e-8)
    policy, reference = gaps(pairs)
    usual = (policy - reference) - (policy - reference).mean()
    expected = ALPHA["gamma_beta_ratio"] + ALPHA["alpha"] * usual / (policy - reference).std(ddof=1)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    moved = pairs._replace(ref_chosen=pairs.ref_chosen + 3 * pairs.chosen_len)
    np.testing.assert_allclose(poz.alpha_dpo(moved, **ALPHA), poz.alpha_dpo(pairs, **ALPHA), rtol=1e-10)


@given(seed=SEEDS)
def test_known_gaps_make_alpha_dpo_separable(seed):
    pairs = pairs_of(seed, b=5)
    policy, reference = gaps(pairs)
    center, spread = (policy - reference).mean(), (policy - reference).std(ddof=1)
    whole = poz.alpha_dpo(pairs, **ALPHA)
    for known in ({"mean_gap": center}, {"gap_std": spread}, {"mean_gap": center, "gap_std": spread}):
        this = poz.alpha_dpo.bind(**ALPHA, **known)
        np.testing.assert_allclose(this(pairs), whole, rtol=1e-11)
        assert bool(this.coupled) == (len(known) == 1)
    assert this(taken(pairs, slice(0))).shape == (0,)
    parts = [this(taken(pairs, part)) for part in (slice(0, 2), slice(2, 3), slice(3, 5))]
    np.testing.assert_array_equal(np.concatenate(parts), this(pairs))
    assert np.abs(np.concatenate([poz.alpha_dpo(taken(pairs, [i]), **ALPHA) for i in range(5)]) - whole).max() > 1e-4
    assert poz.alpha_dpo.coupled


def test_the_target_of_alpha_dpo_is_held():
    pairs = pairs_of(3, b=4)
    losses, chosen, rejected, *held = slopes(
        poz.alpha_dpo.bind(**ALPHA), pairs, "chosen", "rejected", "ref_chosen", "ref_rejected"
    )
    steep = -ALPHA["beta"] * -np.expm1(-losses)  # σ(-z) = 1 - e^-loss
    close(chosen, steep / pairs.chosen_len)
    close(rejected, -steep / pairs.rejected_len)
    np.testing.assert_array_equal(held, 0)


@pytest.mark.parametrize(("alpha", "ahead", "behind"), [(0.3, 0.0, math.inf), (0.6, math.inf, 0.0)])
def test_an_infinite_gap_goes_with_the_larger_of_itself_and_its_target(alpha, ahead, behind):
    """At M and S given, Δ - α Δ / S has the sign of (1 - α / S) Δ; the third pair is at its target, γ' = M = 1/4."""
    pairs = poz.Pairs(
        np.array([-1.0, -math.inf, -1.0]),
        np.array([-math.inf, -1.0, -1.25]),
        *np.full((2, 3), -2.0),
        chosen_len=np.ones(3),
        rejected_len=np.ones(3),
    )
    with np.errstate(invalid="ignore"):
        losses = poz.alpha_dpo(pairs, beta=2.0, gamma_beta_ratio=0.25, alpha=alpha, mean_gap=0.25, gap_std=0.4)
    close(losses, [ahead, behind, math.log(2)])


def test_alpha_dpo_without_alpha_is_simpo_whatever_the_gaps():
    pairs = pairs_of(4, b=4)
    pairs.chosen[1] = pairs.rejected[2] = -math.inf
    simpo = poz.simpo(pairs, beta=2.0, gamma_beta_ratio=0.3)
    assert np.isinf(simpo).tolist() == [False, True, False, False]
    with np.errstate(invalid="ignore"):
        close(poz.alpha_dpo(pairs, **{**ALPHA, "alpha": 0.0}), simpo, size=10)


# ConfPO


def drawn_tokens(seed):
    """Token log-probs of unequal lengths, NaN beyond them, and at least two tokens on each side."""
    rng = np.random.default_rng(seed)
    sides, b = [], int(rng.integers(1, 6))
    for width in (5, 7):
        mask = np.arange(width) < rng.integers(2, width + 1, (b, 1))
        sides.append((np.where(mask, -rng.exponential(1.5, (b, width)), np.nan), mask))
    (chosen, w), (rejected, v) = sides
    return poz.TokenPairs(chosen, rejected, chosen_mask=w, rejected_mask=v)


def selected(row):
    """The tokens of one completion that are less likely than its tokens are on average."""
    return row[np.exp(row) < np.exp(row).mean()]


@given(seed=SEEDS, beta=st.floats(0.1, 5), ratio=st.floats(0, 1))
def test_confpo_is_simpo_of_the_selected_tokens(seed, beta, ratio):
    tokens = drawn_tokens(seed)
    both = ((tokens.chosen, tokens.chosen_mask), (tokens.rejected, tokens.rejected_mask))
    sides = [[selected(x[on]) for x, on in zip(*side, strict=True)] for side in both]
    sums, lens = ([[f(x) for x in side] for side in sides] for f in (np.sum, len))
    pairs = poz.Pairs(*map(np.array, sums), chosen_len=np.array(lens[0]), rejected_len=np.array(lens[1]))
    expected = poz.simpo(pairs, beta=beta, gamma_beta_ratio=ratio)
    close(poz.confpo(tokens, beta=beta, gamma_beta_ratio=ratio), expected, size=10)


@given(level=st.floats(-20, -1e-3), widths=st.tuples(st.integers(1, 40), st.integers(2, 40)), side=st.booleans())
def test_confpo_of_a_constant_sequence_is_0(level, widths, side):
    """Even where the mean of equal numbers is rounded away from them."""
    flat, other = np.full((1, widths[0]), level), -np.linspace(0.1, 3, widths[1])[None]
    sides = (flat, other) if side else (other, flat)
    losses, chosen, rejected = slopes(poz.confpo, poz.TokenPairs(*sides), "chosen", "rejected")
    np.testing.assert_array_equal(losses, 0)
    np.testing.assert_array_equal(chosen, 0)
    np.testing.assert_array_equal(rejected, 0)


def test_confpo_of_nothing_of_the_impossible_and_of_the_unknown():
    inf, nan = math.inf, math.nan
    tokens = poz.TokenPairs(
        np.array([[-1.0, -2], [-1, -2], [-inf, -2], [-1, -2], [-inf, -inf], [nan, -2], [-1, -2], [-inf, -inf]]),
        np.array([[-1.0, -3], [nan, nan], [-1, -3], [-1, -inf], [-1, -3], [-1, -3], [nan, -3], [-inf, -1]]),
        chosen_mask=np.ones((8, 2), bool),
        rejected_mask=np.array([[True, True], [False, False]] + [[True, True]] * 6),
    )
    usual = math.log1p(math.exp(0.5 - 2.0))  # 2 (-2 + 3) - 0.5
    np.testing.assert_allclose(poz.confpo(tokens), [usual, 0, inf, 0, 0, nan, nan, 0], rtol=1e-14)
    np.testing.assert_array_equal(poz.confpo(poz.TokenPairs(*np.zeros((2, 3, 0)))), 0)


def test_confpo_selects_by_the_mean_probability_not_the_mean_log_prob():
    """-0.5 and -3 of a mean of 0.655, where -0.5 is above the mean log-prob of -0.8825."""
    tokens = poz.TokenPairs(np.array([[-0.01, -0.5, -3.0, -0.02]]), np.array([[-0.1, -4.0, -0.1, -0.1]]))
    _, chosen = slopes(poz.confpo, tokens, "chosen")
    np.testing.assert_array_equal(chosen != 0, [[False, True, True, False]])
    far = tokens._replace(chosen=tokens.chosen - 2000)  # e^x is 0, the selection the same
    np.testing.assert_array_equal(slopes(poz.confpo, far, "chosen")[1] != 0, chosen != 0)


def test_confpo_pulls_the_selected_tokens_alone_and_evenly():
    tokens = poz.TokenPairs(np.array([[-1.0, -4.0, -1.0, -3.0]]), np.array([[-2.0, -5.0]]))  # of means 0.20 and 0.07
    losses, chosen, rejected = slopes(poz.confpo.bind(beta=1.0, gamma_beta_ratio=0.5), tokens, "chosen", "rejected")
    close(losses, softplus(-1.0))  # -3.5 + 5 - 0.5
    close(chosen, sigmoid(-1) * np.array([[0, -0.5, 0, -0.5]]))
    close(rejected, sigmoid(-1) * np.array([[0, 1.0]]))


def test_an_impossible_token_is_selected_beside_a_possible_one_but_not_alone():
    tokens = poz.TokenPairs(
        np.array([[-math.inf, -2.0, -3.0], [-math.inf, -2.0, -3.0]]),
        np.array([[-1.0, -3.0]] * 2),
        chosen_mask=np.array([[True, True, True], [True, False, False]]),
    )
    losses, chosen, _ = slopes(poz.confpo.bind(beta=2.0), tokens, "chosen", "rejected")
    np.testing.assert_array_equal(losses, [math.inf, 0])
    np.testing.assert_array_equal(chosen, [[-1, 0, -1], [0, 0, 0]])  # e^-3 is below their mean, of three, too


# Reward partitioning


def partitioned(seed, tau):
    """Lists, and V of each in plain NumPy."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 5)), int(rng.integers(1, 6)))
    lengths, scores = rng.integers(0, 9, shape), -np.sort(-rng.normal(0, 2, shape), -1)
    ref = rng.normal(-1.5, 0.4, shape) * np.maximum(lengths, 1)
    valid = rng.random(shape) < 0.7
    valid[:, 0] = True
    worth = np.where(valid, tau * ref / np.maximum(lengths, 1) + scores, -np.inf)
    value = tau * np.log(np.exp((worth - worth[:, :1]) / tau).sum(-1)) + worth[:, 0]
    lists = poz.Ranked(rng.normal(-20, 4, shape), ref, lengths, scores, valid)
    return lists, worth, value


def found_values(lists, tau):
    """V from the slopes, which are e / n, e = log(π/π_ref) / n - (r - V) / τ; the first completion is valid."""
    _, slope = slopes(poz.reward_partition.bind(tau=tau), lists, "logps")
    n = np.maximum(lists.lengths[:, 0], 1)
    ratio = (lists.logps[:, 0] - lists.ref_logps[:, 0]) / n
    return (n * slope[:, 0] - ratio) * tau + lists.scores[:, 0]


@given(seed=SEEDS, tau=st.floats(0.2, 2))
def test_reward_partition_is_0_exactly_at_its_target(seed, tau):
    lists, _, value = partitioned(seed, tau)
    n = np.maximum(lists.lengths, 1)
    there = lists._replace(logps=lists.ref_logps + n * (lists.scores - value[:, None]) / tau)
    losses, slope, back = slopes(poz.reward_partition.bind(tau=tau), there, "logps", "ref_logps")
    close(losses, 0)  # squares of roundings
    close(slope, 0, size=100)
    close(back, 0, size=100)
    count = lists.mask.sum(-1)
    off = there._replace(logps=there.logps + np.where(lists.mask, 0.5 * n, np.nan))
    close(poz.reward_partition(off, tau=tau), count / 8, size=100)


@given(seed=SEEDS, tau=st.floats(0.2, 2))
def test_the_value_of_a_prompt_is_a_soft_maximum(seed, tau):
    lists, worth, value = partitioned(seed, tau)
    found = found_values(lists, tau)
    close(found, value, size=1e3)
    best, count = worth.max(-1), lists.mask.sum(-1)
    assert (best - 1e-10 <= found).all()
    assert (found <= best + tau * np.log(count) + 1e-10).all()
    alike = lists._replace(ref_logps=0 * lists.ref_logps, scores=0 * lists.scores + 2)
    close(found_values(alike, tau), 2 + tau * np.log(count), size=1e3)


@given(seed=SEEDS, shift=st.floats(-5, 5))
def test_reward_partition_knows_no_zero_of_the_rewards_and_holds_its_value(seed, shift):
    lists, _, value = partitioned(seed, 0.5)
    this = poz.reward_partition.bind(tau=0.5)
    close(this(lists._replace(scores=lists.scores + shift)), this(lists), size=1e4)
    _, slope, back = slopes(this, lists, "logps", "ref_logps")
    n = np.maximum(lists.lengths, 1)
    residual = (lists.logps - lists.ref_logps) / n - (lists.scores - value[:, None]) / 0.5
    close(slope, np.where(lists.mask, residual / n, 0), size=1e3)
    close(back, -slope)


def test_reward_partition_of_an_infinite_reference():
    """Alone, the error is log π / |y|, whatever the reference; beside one that is certain, others are infinitely rare."""
    infinite = math.inf * np.array([[1.0], [-1.0]])
    alone = poz.Ranked(np.array([[-3.0]] * 2), infinite, np.array([[2.0]] * 2), np.zeros((2, 1)))
    certain = poz.Ranked(*np.array([[[-3.0, -4.0]], [[math.inf, -2.0]], [[1.0, 3.0]], [[1.0, 0.0]]]))
    competing = certain._replace(ref_logps=infinite.T[:, :1].repeat(2, 1))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(poz.reward_partition(alone), (3 / 2) ** 2 / 2)
        np.testing.assert_array_equal(poz.reward_partition(certain), math.inf)
        np.testing.assert_array_equal(poz.reward_partition(competing), math.nan)


def test_reward_partition_is_of_means_per_token():
    """(-8 + 10) / 10 and (-30 + 28) / 20, V = 0.7 log(e^(-1 + 1 / 0.7) + e^(-1.4 - 1 / 0.7)): 1.9014, as released."""
    lists = poz.Ranked(*np.array([[[-8.0, -30.0]], [[-10.0, -28.0]], [[10, 20]], [[1.0, -1.0]]]))
    value = 0.7 * math.log(math.exp(-1 + 1 / 0.7) + math.exp(-1.4 - 1 / 0.7))
    close(poz.reward_partition(lists, tau=0.7), ((0.2 - (1 - value) / 0.7) ** 2 + (-0.1 + (1 + value) / 0.7) ** 2) / 2)
    assert poz.reward_partition(lists, tau=0.7) == pytest.approx(1.901, abs=5e-4)
    sums = poz.reward_partition(lists._replace(lengths=np.ones((1, 2))), tau=0.7)
    assert abs(sums - 1.901) > 1  # lengths of 1 read sums


# The discovered losses

X = np.linspace(-6, 6, 25)


def quantile(x):
    return 0.5 + 0.01 * (sigmoid(np.mean(x)) - 0.5)


@given(beta=st.floats(0.02, 5))
def test_aql_joins_the_hinge_of_ordered_pairs_and_dpo_of_the_others(beta):
    """Each end up to the other's weight, e^-|x - q| of x = 20 z, times their difference."""
    x = np.array([21.0, 26.0, 33.0])  # the hinge of z > 1 is 0
    z = x / 20
    well, badly = poz.aql(margin(z / beta), beta=beta), poz.aql(margin(-z / beta), beta=beta)
    np.testing.assert_allclose(well, np.exp(quantile(x) - x) * softplus(-z), rtol=1e-8)  # the weight is 1 / (1 + 1e-9)
    np.testing.assert_allclose(
        badly - softplus(z), np.exp(-x - quantile(-x)) * (1 + z - softplus(z)), rtol=1e-8, atol=1e-14
    )


@given(beta=BETAS)
def test_aql_is_even_where_the_margin_is_the_quantile(beta):
    """One pair: x = q gives both weights 1/2; σ is 1-Lipschitz times 0.01, so the iteration settles at once."""
    x = 0.5
    for _ in range(12):
        x = float(quantile(x))
    close(poz.aql(margin(0.05 * x / beta), beta=beta), (softplus(-0.05 * x) + 1 - 0.05 * x) / 2)
    assert 0.5 < x < 0.505


def test_aqfl_of_one_pair_has_a_twentieth_of_a_sigmoid_as_quantile():
    for x in (-30.0, -2.0, 0.0, 0.01, 1.0, 19.0, 30.0):
        w = sigmoid(0.1 * abs(x - 0.05 * sigmoid(x)))
        expected = w * softplus(-0.05 * x) + (1 - w) * max(1 - 0.05 * x, 0)
        close(poz.aqfl(margin(x)), expected)
    losses, slope = slopes(poz.aqfl, margin([0.7]), "chosen")
    assert np.isfinite([*losses, *slope]).all()


@pytest.mark.parametrize("beta", [0.05, 0.5])
def test_aqfl_by_its_quantile(beta):
    """The farther from the quantile, on either side, the more of DPO; never less than half."""
    x = 20 * beta * X
    q = 0.95 * x.std(ddof=1) * sigmoid(-x).mean() + 0.05 * sigmoid(x.mean())
    w = sigmoid(0.1 * np.abs(x - q))
    dpo, hinge = softplus(-beta * X), np.maximum(1 - beta * X, 0)
    losses = poz.aqfl(margin(X), beta=beta)
    close(losses, w * dpo + (1 - w) * hinge)
    assert (np.abs(losses - dpo) <= np.abs(losses - hinge) + 1e-14).all()


@pytest.mark.parametrize("name", ["aql", "aqfl"])
def test_the_quantile_has_a_gradient(name):
    """Against central differences of the sum; their error is 1e-12 of the third derivative, and 1e-16 / 1e-6."""
    this = poz.zoo[name].bind(beta=0.1)
    x, step = np.array([2.0, -1.5, 0.3, 5.0]), 1e-6
    moved = np.eye(4) * step
    expected = [(this(margin(x + d)).sum() - this(margin(x - d)).sum()) / (2 * step) for d in moved]
    _, chosen, ref_rejected = slopes(this, margin(x), "chosen", "ref_rejected")
    np.testing.assert_allclose(chosen, expected, atol=1e-8)
    np.testing.assert_array_equal(chosen, ref_rejected)
    # and is a say of each pair in the others' losses
    assert np.abs(this(margin(x))[:2] - this(margin(x[:2]))).min() > 1e-7


@pytest.mark.parametrize("name", ["aql", "aqfl", "alpha_dpo"])
@given(seed=SEEDS)
def test_the_order_of_the_batch_does_not_matter(name, seed):
    pairs = pairs_of(seed)
    order = np.random.default_rng(seed).permutation(len(pairs.chosen))
    np.testing.assert_allclose(poz.zoo[name](taken(pairs, order)), poz.zoo[name](pairs)[order], rtol=1e-10)


@pytest.mark.parametrize("name", ["aql", "aqfl", "alpha_dpo"])
def test_a_batch_is_tied_together_and_may_be_empty(name):
    this, pairs = poz.zoo[name].bind(beta=0.05), pairs_of(5, b=6)
    assert this.coupled
    halves = [this(taken(pairs, part)) for part in (slice(0, 2), slice(2, 6))]
    assert np.abs(np.concatenate(halves) - this(pairs)).max() > 1e-6
    assert this(taken(pairs, slice(0))).shape == (0,)
    losses, chosen = slopes(this, taken(pairs, slice(0)), "chosen")
    assert losses.shape == chosen.shape == (0,)


@pytest.mark.parametrize("name", ["aql", "aqfl"])
@pytest.mark.parametrize("x", [1.5, 0.1, -2.3])
@pytest.mark.parametrize("count", [2, 7, 49])
def test_equal_pairs_have_one_loss_and_one_slope(name, x, count):
    """Those of the pair alone, as the spread has no slope, though the mean may be rounded away from them."""
    losses, chosen = slopes(poz.zoo[name].bind(beta=0.4), margin([x] * count), "chosen")
    alone, slope = slopes(poz.zoo[name].bind(beta=0.4), margin(x), "chosen")
    close(losses, alone[0])
    close(chosen, slope[0])


def test_a_spread_too_small_to_square_is_none():
    """(1e-170)² is 0, and its root would have an infinite slope."""
    losses, chosen = slopes(poz.aqfl.bind(beta=0.4), margin([0.0, 1e-170]), "chosen")
    alone, slope = slopes(poz.aqfl.bind(beta=0.4), margin([0.0, 0.0]), "chosen")
    close(losses, alone)
    close(chosen, slope)


def test_pfl_jumps_where_the_policy_is_indifferent():
    tiny = 1e-12
    losses, slope = slopes(poz.pfl.bind(beta=0.5), margin([-tiny, 0.0, tiny]), "chosen")
    np.testing.assert_allclose(losses, [2, 2, math.log(2) / 2], rtol=1e-11)
    np.testing.assert_allclose(slope, [-1, -1, -0.125], rtol=1e-11)


@given(seed=SEEDS, beta=BETAS)
def test_pfl_is_half_of_dpo_where_the_policy_prefers_chosen_and_twice_the_hinge_elsewhere(seed, beta):
    """Whatever the reference prefers."""
    pairs = pairs_of(seed)
    right = pairs.chosen > pairs.rejected
    losses, chosen, rejected = slopes(poz.pfl.bind(beta=beta), pairs, "chosen", "rejected")
    close(losses, np.where(right, poz.dpo(pairs, beta=beta) / 2, 2 * poz.hinge(pairs, beta=beta)))
    np.testing.assert_array_equal(rejected, -chosen)


def test_the_published_strength_of_pfl_at_the_reference():
    """log σ(0) has the slope 1/2: a quarter of β; a log-prob of -10 beside -12 is no tie, whatever the reference."""
    pairs = poz.Pairs(*np.array([[-10.0], [-12.0]] * 2))
    losses, slope = slopes(poz.pfl, pairs, "chosen")
    np.testing.assert_allclose([losses[0], slope[0]], [math.log(2) / 2, -0.25 * 0.05], rtol=1e-15)


# Errors

ONE = np.array([-1.0, -2.0])
LIST = np.array([[-1.0, -2.0, -3.0]])
PER_TOKEN = {"chosen_len": np.ones(2), "rejected_len": np.ones(2)}
BAD = {
    "two of mdpo": (lambda: poz.mdpo(poz.Ranked(LIST[:, :2], LIST[:, :2])), "`mdpo` needs 3 .*; got K = 2"),
    "four of mdpo": (lambda: poz.mdpo(poz.Ranked(*[np.zeros((1, 4))] * 2)), "`mdpo` needs 3 .*; got K = 4"),
    "no reference of mdpo": (lambda: poz.mdpo(poz.Ranked(LIST)), "`mdpo` reads ref_logps, which is missing"),
    "a negative anchor": (lambda: poz.mdpo.bind(delta=-0.5), r"in \[0, inf\) for delta; got -0.5"),
    "no spread": (lambda: poz.alpha_dpo.bind(gap_std=0.0), r"in \(0, inf\) or None for gap_std; got 0.0"),
    "no spread in a call": (
        lambda: poz.alpha_dpo(poz.Pairs(*[ONE] * 4, **PER_TOKEN), gap_std=0.0),
        r"in \(0, inf\) or None for gap_std; got 0.0",
    ),
    "no lengths": (lambda: poz.alpha_dpo(poz.Pairs(*[ONE] * 4)), "`alpha_dpo` reads chosen_len, which is missing"),
    "a table of pairs": (
        lambda: poz.alpha_dpo(poz.Pairs(*[LIST] * 4, chosen_len=LIST * 0 + 1, rejected_len=LIST * 0 + 1)),
        r"one log-prob per completion for chosen, shape \(batch,\); got shape",
    ),
    "pairs of other numbers": (
        lambda: poz.confpo(poz.TokenPairs(np.zeros((2, 3)), np.zeros((3, 3)))),
        r"`confpo`.*rejected.*\(3, 3\)",
    ),
    "a mask of other tokens": (
        lambda: poz.confpo(poz.TokenPairs(LIST, LIST, chosen_mask=np.ones((1, 2), bool))),
        r"`confpo`.*chosen_mask.*\(1, 2\)",
    ),
    "no rewards": (
        lambda: poz.reward_partition(poz.Ranked(LIST, LIST, lengths=LIST * 0 + 1)),
        "`reward_partition` reads scores, which is missing",
    ),
    "no temperature": (lambda: poz.reward_partition.bind(tau=0.0), r"in \(0, inf\) for tau; got 0.0"),
    "no reference of aql": (lambda: poz.aql(poz.Pairs(ONE, ONE)), "`aql` reads ref_chosen, which is missing"),
    "no strength": (lambda: poz.aqfl.bind(beta=0.0), r"in \(0, inf\) for beta; got 0.0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")
