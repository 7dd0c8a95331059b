"""HC-RLHF's bounds and R3, FLR and max-min rewards: the authors' numbers, exact quantiles, coverage, and their laws."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from poz.rewards import transforms as tr

ROWS = {row["item"]: row for row in json.loads((Path(__file__).parent / "authors/rewards/transforms.json").read_text())}
RNG = np.random.default_rng(21)
COSTS = np.array(ROWS["safety test"]["inputs"]["costs"])


def close(actual, expected):
    """A few roundings of float64 of numbers of the order of 1."""
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


# -- the constraint


def test_authors_constraint():
    k = tr.kappa(len(COSTS))
    row = ROWS["λ step"]
    start, threshold = row["inputs"]["log_multiplier"], row["inputs"]["threshold"]
    close(tr.multiplier_step(start, tr.upper_bound(COSTS, k), threshold, **row["settings"]), row["values"][0])
    close(tr.advantage_cost(COSTS, k), ROWS["augmented cost"]["values"])
    close(tr.safety_test(COSTS, 0.0).bound, ROWS["safety test"]["values"][0])


def test_quantiles_of_one_and_two_degrees_are_known():
    for delta in (0.5, 0.1, 0.01):
        p = 1 - delta
        close(tr.kappa(2, delta=delta, safety=0), np.tan(np.pi * (p - 0.5)) / np.sqrt(2))
        close(tr.kappa(3, delta=delta, safety=0), (2 * p - 1) / np.sqrt(2 * p * (1 - p)) / np.sqrt(3))
    close(tr.kappa(9, safety_count=2, training=0, safety=3), 3 * np.tan(0.4 * np.pi) / np.sqrt(2))
    assert tr.kappa(40, training=0, safety=0) == 0


def test_more_costs_allow_more():
    margins = [tr.kappa(n) for n in (2, 3, 10, 100, 10_000)]
    assert margins == sorted(margins, reverse=True)
    assert tr.kappa(40, delta=0.01) > tr.kappa(40, delta=0.1) > tr.kappa(40, delta=0.5) == 0


def test_without_a_margin_it_is_lagrangian_ppo():
    np.testing.assert_array_equal(tr.advantage_cost(COSTS, 0.0), COSTS)
    close(tr.upper_bound(COSTS, 0.0), COSTS.mean())


def test_the_policy_gradient_of_the_augmented_cost_is_that_of_the_bound():
    # A categorical policy: d mean / d logit_k = p_k (c_k - mean), d var / d logit_k = p_k ((c_k - mean)² - var).
    p, costs, k = RNG.dirichlet(np.ones(8)), RNG.normal(1, 2, 8), 0.7
    mean = p @ costs
    var = p @ (costs - mean) ** 2
    wanted = p * (costs - mean) + k * p * ((costs - mean) ** 2 - var) / (2 * np.sqrt(var))
    augmented = tr.advantage_cost(costs, k, mean=mean, deviation=np.sqrt(var))
    close(p * (augmented - p @ augmented), wanted)


@pytest.mark.parametrize("array", [np.asarray, torch.tensor, jnp.asarray])
def test_equal_costs_have_no_deviation(array):
    costs = array(np.full(5, 1.5, np.float32))
    assert float(tr.upper_bound(costs, 3.0)) == 1.5
    np.testing.assert_array_equal(np.asarray(tr.advantage_cost(costs, 3.0)), 1.5)
    assert tr.safety_test(costs, 1.5) == (1.5, True)


def test_equal_costs_have_a_slope():
    costs = torch.full((4,), 1.5, requires_grad=True)
    (slope,) = torch.autograd.grad(tr.upper_bound(costs, 3.0), costs)
    np.testing.assert_allclose(slope, 0.25)
    np.testing.assert_allclose(jax.grad(lambda c: tr.upper_bound(c, 3.0))(jnp.full(4, 1.5)), 0.25)


def test_the_multiplier_rises_while_the_constraint_is_violated_and_stops_at_its_greatest():
    assert tr.multiplier_step(0.5, 2.0, 1.0) == pytest.approx(0.5 + 0.01 * np.exp(0.5), rel=1e-14)
    assert tr.multiplier_step(0.5, 0.0, 1.0) < 0.5 == tr.multiplier_step(0.5, 1.0, 1.0)
    assert tr.multiplier_step(0.5, 1e9, 1.0, most=7.0) == pytest.approx(np.log(7.0), rel=1e-15)
    assert tr.multiplier_step(torch.tensor(0.5), 2.0, 1.0).dtype == torch.float32


def test_the_bound_fails_as_often_as_it_may():
    # 4000 policies whose expected cost is 0, of 40 normal costs each. A pass at a threshold of 0 is a failure of the
    # bound: δ = .1 of them, within four deviations of a binomial share, .019.
    draws = RNG.normal(0, 1.7, (4000, 40))
    passed = np.mean([tr.safety_test(costs, 0.0).safe for costs in draws])
    assert abs(passed - 0.1) < 0.019


def test_the_test_says_what_it_is_about():
    verdict = tr.safety_test(COSTS, 0.3)
    assert (type(verdict.bound), verdict.safe) == (float, False)
    assert tr.safety_test(COSTS, verdict.bound).safe
    assert tr.safety_test(torch.tensor(COSTS), 0.3).bound == pytest.approx(verdict.bound, rel=1e-13)


# -- R3


def test_authors_r3():
    row = ROWS["R3"]
    tokens, relevance, open_ended = row["inputs"]["tokens"], row["inputs"]["relevance"], row["inputs"]["open_ended"]
    penalties = [tr.repetition_penalty(x) for x in tokens]
    assert penalties == row["factors"]["penalty"]
    lengths = np.array([float(len(x)) for x in tokens])
    close(tr.r3(np.array(relevance), lengths, np.array(penalties), np.array(open_ended)), row["values"])


def test_a_penalty_is_one_where_no_n_gram_comes_twice():
    assert tr.repetition_penalty([]) == tr.repetition_penalty([1, 1]) == tr.repetition_penalty(list(range(9))) == 1
    assert tr.repetition_penalty(["a"] * 12) == 1 / 10
    assert tr.repetition_penalty([1, 2, 1, 2, 1], size=2) == 1 / 2
    for tokens in RNG.integers(0, 3, (20, 40)).tolist():
        assert 0 < tr.repetition_penalty(tokens) < 1  # 38 places for 27 trigrams


def test_each_factor_multiplies():
    relevance, lengths, penalty = RNG.uniform(0.5, 2, (3, 6))
    both = np.arange(6) % 2 == 0
    reward = tr.r3(relevance, lengths, penalty, both)
    close(tr.r3(3 * relevance, lengths, penalty, both), 3 * reward)
    close(tr.r3(relevance, lengths, 3 * penalty, both), 3 * reward)
    close(tr.r3(relevance, 3 * lengths, penalty, both), np.where(both, 3, 1) * reward)


# -- FLR


LOGPS, MASK = -RNG.exponential(1, (3, 4, 5)), np.arange(5) < RNG.integers(1, 6, (3, 4, 1))


def test_follow_ups_by_hand():
    logps = np.array([[-1.0, -3, np.nan], [-2, -9, -1], [-6, np.nan, -np.inf]])
    mask = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]], bool)
    assert tr.follow_up_likelihood(logps, mask, [1, 1, -1]) == (-2 - 4) / 2 + 6


def test_the_other_way_round_it_negates_and_what_is_said_twice_counts_once():
    signs = [1, -1, 1, -1]
    reward = tr.follow_up_likelihood(LOGPS, MASK, signs)
    assert reward.shape == (3,)
    close(tr.follow_up_likelihood(LOGPS, MASK, [-x for x in signs]), -reward)
    close(tr.follow_up_likelihood(np.repeat(LOGPS, 2, 1), np.repeat(MASK, 2, 1), np.repeat(signs, 2).tolist()), reward)
    close(tr.follow_up_likelihood(np.repeat(LOGPS, 3, 2), np.repeat(MASK, 3, 2), signs), reward)


def test_each_token_of_a_follow_up_has_its_share_of_the_slope():
    signs = np.array([1, -1, 1, 1])
    wanted = (np.where(signs > 0, 1 / 3, -1.0)[:, None] / MASK.sum(-1, keepdims=True)) * MASK
    logps = torch.tensor(np.where(MASK, LOGPS, np.nan), requires_grad=True)
    tr.follow_up_likelihood(logps, torch.tensor(MASK), signs.tolist()).sum().backward()
    close(logps.grad.numpy(), wanted)
    with jax.enable_x64(True):
        mask = jnp.asarray(MASK)
        slope = jax.grad(lambda x: tr.follow_up_likelihood(x, mask, signs.tolist()).sum())(logps.detach().numpy())
        close(slope, wanted)


# -- max-min


GROUPS = RNG.normal(0, 1, (200, 3))


def test_one_group_is_its_reward_and_more_are_never_better():
    np.testing.assert_array_equal(tr.per_sample_min(GROUPS[:, :1]), GROUPS[:, 0])
    weights = tr.maxmin_weights(GROUPS.mean(0))
    assert tr.per_sample_min(GROUPS).mean() < (GROUPS @ weights).mean() - 0.1
    close((GROUPS @ weights).mean(), GROUPS.mean(0).min())
    np.testing.assert_array_equal(tr.maxmin_weights(np.array([0.3])), 1)


def test_names_of_groups_and_a_shift_do_not_matter():
    order = [2, 0, 1]
    np.testing.assert_array_equal(tr.per_sample_min(GROUPS[:, order]), tr.per_sample_min(GROUPS))
    close(tr.per_sample_min(GROUPS + 2), tr.per_sample_min(GROUPS) + 2)
    means = GROUPS[:4]
    for rate in (None, 0.7):
        weights = tr.maxmin_weights(means, rate=rate)
        np.testing.assert_array_equal(tr.maxmin_weights(means[:, order], rate=rate), weights[:, order])
        close(weights.sum(-1), 1)
        close(tr.maxmin_weights(means + 2, rate=rate), weights)


def test_soft_weights_lie_between_equal_and_hard():
    means = np.array([0.0, 0.5, 2.0])
    close(tr.maxmin_weights(means, rate=0.0), 1 / 3)
    close(tr.maxmin_weights(means, rate=2.0), np.exp(-2 * means) / np.exp(-2 * means).sum())
    close(tr.maxmin_weights(1000 * means, rate=1e3), tr.maxmin_weights(means))
    np.testing.assert_array_equal(tr.maxmin_weights(np.array([1.0, 0.0, 0.0])), [0, 0.5, 0.5])


def test_the_slope_goes_to_the_least_and_ties_share_it():
    rewards = np.array([[1.0, 2.0, 3.0], [5.0, 4.0, 4.0]])
    wanted = [[1, 0, 0], [0, 0.5, 0.5]]
    x = torch.tensor(rewards, requires_grad=True)
    tr.per_sample_min(x).sum().backward()
    np.testing.assert_array_equal(x.grad, wanted)
    np.testing.assert_array_equal(jax.grad(lambda x: tr.per_sample_min(x).sum())(jnp.asarray(rewards)), wanted)


# -- claims


def tilted(reference, rewards, nats):
    """The policy that maximises E[r] - β KL: π ∝ π_ref e^(r/β), with the β at which its KL is `nats`."""
    low, high = 1e-3, 1e3
    for _ in range(200):
        beta = np.sqrt(low * high)
        policy = reference * np.exp((rewards - rewards.max()) / beta)
        policy /= policy.sum()
        kl = np.sum(policy * (np.log(np.maximum(policy, 1e-300)) - np.log(reference)))
        low, high = (beta, high) if kl > nats else (low, beta)
    return policy


@pytest.mark.parametrize("seed", range(5))
def test_a_bounded_reward_of_a_bounded_slope_is_not_hacked(seed):
    # 2000 responses to a prompt; the reward model errs with a heavy upper tail. Both policies go one nat from the
    # reference, by which one that knew the true rewards would get √2.
    rng = np.random.default_rng(seed)
    true, reference = rng.normal(0, 1, 2000), np.full(2000, 1 / 2000)
    proxy = true + np.where(rng.random(2000) < 0.01, rng.pareto(1.0, 2000) * 5, 0)
    shaped = tr.par(proxy, np.broadcast_to(rng.choice(proxy, 10), (2000, 10)))
    raw, bounded = tilted(reference, proxy, 1.0), tilted(reference, shaped, 1.0)
    assert raw @ proxy > bounded @ proxy  # what raw rewards are paid for
    assert bounded @ true > 1.0
    assert raw @ true < 0.5


def test_two_opposed_groups_are_served_alike():
    # A majority of 70 % likes what the minority dislikes: the mean reward serves it alone, multiplicative weights both.
    rewards = np.array([[1.0, -1.0], [-1.0, 1.0], [0.2, 0.2]])  # (responses, groups)
    majority = np.exp(rewards @ [0.7, 0.3] / 0.05)
    assert (majority @ rewards / majority.sum())[1] < -0.9
    total, served = np.zeros(2), []
    for _ in range(4000):
        policy = np.exp(rewards @ tr.maxmin_weights(total, rate=0.02) / 0.05)
        served.append(policy @ rewards / policy.sum())
        total += served[-1]
    means = np.mean(served, 0)
    assert abs(means[0] - means[1]) < 0.01
    assert means.min() > 0.15


# -- refused


ONES = np.ones(3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tr.par(ONES, np.ones((3, 0))), "par needs references of shape"),
        (lambda: tr.par(ONES, np.ones(3)), "par needs references of shape"),
        (lambda: tr.par(ONES, np.ones((2, 3))), r"got \(2, 3\) for rewards \(3,\)"),
        (lambda: tr.lsc(np.ones(()), np.ones(())), "lsc needs references of shape"),
        (lambda: tr.par(ONES, ONES[:, None], scale=0.0), "scale must be positive"),
        (lambda: tr.sigmoid(ONES, scale=np.nan), "scale must be positive"),
        (lambda: tr.lsc(ONES, ONES[:, None], quantile=1.0), "needs a quantile between 0 and 1"),
        (lambda: tr.ceiling(ONES, most=np.nan), "needs a number for most"),
        (lambda: tr.length_penalty(ONES, np.array([1, -2, 3])), "lengths of 0 or more; got -2"),
        (lambda: tr.length_penalty(ONES, np.array([1, 2])), r"rewards \(3,\), lengths \(2,\)"),
        (lambda: tr.length_penalty(ONES, np.array([1, 2, 3]), slope=-1), "slope must be at least 0"),
        (lambda: tr.repetition_penalty([1, 2], size=0), "size must be at least 1"),
        (lambda: tr.r3(ONES, ONES, np.ones(2), ONES > 0), "r3 needs one shape for all"),
        (lambda: tr.r3(ONES, ONES, ONES, ONES > 0, high=0.0), "must be positive, since they divide"),
        (lambda: tr.follow_up_likelihood(LOGPS, MASK, [1, 1, 1, 1]), "of 1 and -1 at least one each"),
        (lambda: tr.follow_up_likelihood(LOGPS, MASK, [1, -1]), "F signs"),
        (lambda: tr.follow_up_likelihood(LOGPS, MASK, [1, -1, 0, 1]), "F signs"),
        (lambda: tr.follow_up_likelihood(LOGPS, MASK & (LOGPS > 0), [1, -1, 1, 1]), "a follow-up without a token"),
        (lambda: tr.per_sample_min(np.ones((3, 0))), "at least one group"),
        (lambda: tr.maxmin_weights(np.ones(())), "at least one group"),
        (lambda: tr.maxmin_weights(np.array([1, np.nan])), "needs finite means"),
        (lambda: tr.maxmin_weights(ONES, rate=-1.0), "rate must be at least 0"),
        (lambda: tr.kappa(1), "count must be at least 2; got 1"),
        (lambda: tr.kappa(9, safety_count=0), "safety_count must be at least 2"),
        (lambda: tr.kappa(9, delta=0.0), r"delta must lie in \(0, 1/2\]"),
        (lambda: tr.kappa(9, training=-1.0), "must be at least 0"),
        (lambda: tr.upper_bound(torch.tensor([1.0, np.nan]), 1.0), "upper_bound needs finite costs"),
        (lambda: tr.upper_bound(np.ones(1), 1.0), "upper_bound needs two costs"),
        (lambda: tr.advantage_cost(np.ones(1), 1.0), "advantage_cost needs two costs"),
        (lambda: tr.advantage_cost(ONES, 1.0, mean=1.0), "give both, or none"),
        (lambda: tr.multiplier_step(0.0, np.nan, 1.0), "needs a finite bound"),
        (lambda: tr.multiplier_step(0.0, 1.0, 1.0, rate=0.0), "must be positive"),
        (lambda: tr.safety_test(np.ones(0), 1.0), "the number of costs must be at least 2; got 0"),
        (lambda: tr.safety_test(np.array([1.0, np.inf, 2.0]), 1.0), "needs finite costs"),
        (lambda: tr.safety_test(ONES, np.nan), "needs finite costs and a threshold"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tr.par(np.ones(3, int), np.ones((3, 1))), "needs floating-point numbers for rewards; got int64"),
        (lambda: tr.par([1.0], [[1.0]]), "An array of NumPy, torch or JAX is needed; got list"),
        (lambda: tr.par(ONES, torch.ones(3, 1)), "got references of torch but rewards of numpy"),
        (lambda: tr.tanh(ONES > 0), "needs floating-point numbers for rewards; got bool"),
        (lambda: tr.par(ONES, ONES[:, None], scale="2"), "needs a number for scale"),
        (lambda: tr.length_penalty(ONES, [1, 2, 3]), "length_penalty needs numbers of tokens for lengths"),
        (lambda: tr.repetition_penalty("no no no"), "needs a Sequence for tokens"),
        (lambda: tr.r3(ONES, ONES, ONES, ONES), "r3 needs booleans of numpy for open_ended; got float64"),
        (lambda: tr.follow_up_likelihood(LOGPS, None, [1, -1, 1, 1]), "needs booleans of numpy for mask"),
        (lambda: tr.safety_test(np.ones(3, int), 1.0), "needs floating-point numbers for costs"),
    ],
)
def test_kinds_that_make_no_sense_are_refused(call, said):
    with pytest.raises(TypeError, match=said):
        call()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (0, 4)])
def test_rewards_may_be_of_any_shape(shape):
    rewards, references = np.ones(shape), np.zeros((*shape, 1))
    for call in (tr.par, tr.centered, tr.tanh, tr.arctan, tr.polynomial, tr.lsc):
        assert np.shape(call(rewards, references)) == shape
    assert np.shape(tr.length_penalty(rewards, np.full(shape, 500))) == shape
    assert np.shape(tr.ceiling(rewards, most=0.0)) == shape
    assert np.shape(tr.per_sample_min(references)) == shape
