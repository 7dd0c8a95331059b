"""HC-RLHF's bounds and R3, FLR and max-min rewards: the authors' numbers, exact quantiles, and their laws."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from poz.rewards import transforms as tr

ROWS = {
    row["item"]: row for row in json.loads((Path(__file__).parents[1] / "authors/rewards/transforms.json").read_text())
}
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
