"""What the papers of `poz.rewards.transforms` claim, on policies small enough to be exact."""

import numpy as np
import pytest

from poz.rewards import transforms as tr

RNG = np.random.default_rng(34)


def close(actual, expected):
    """A few roundings of float64 of numbers of the order of 1."""
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


def test_par_of_what_the_reference_draws_is_a_half():
    # PAR: σ(x) + σ(-x) = 1, so that a policy that is the reference gets 1/2 whatever the rewards are; any policy gets
    # its Bradley-Terry win rate, here of two distributions over 50 responses.
    rewards, policy, reference = RNG.standard_t(2, 50), RNG.dirichlet(np.ones(50)), RNG.dirichlet(np.ones(50))
    wins = tr.par(np.repeat(rewards, 50), np.tile(rewards, 50)[:, None]).reshape(50, 50)
    close(reference @ wins @ reference, 0.5)
    close(policy @ wins @ reference, 1 - reference @ wins @ policy)


def test_the_policy_gradient_of_the_augmented_cost_is_that_of_the_bound():
    # HC-RLHF, on a categorical policy: the score-function gradient of C + κ (C² - 2 C mean) / (2 s) is that of
    # mean + κ s, by hand: d mean / d logit_k = p_k (c_k - mean), d var / d logit_k = p_k ((c_k - mean)² - var).
    p, costs, k = RNG.dirichlet(np.ones(8)), RNG.normal(1, 2, 8), 0.7
    mean = p @ costs
    var = p @ (costs - mean) ** 2
    wanted = p * (costs - mean) + k * p * ((costs - mean) ** 2 - var) / (2 * np.sqrt(var))
    augmented = tr.advantage_cost(costs, k, mean=mean, deviation=np.sqrt(var))
    close(p * (augmented - p @ augmented), wanted)


def test_the_bound_fails_as_often_as_it_may():
    # HC-RLHF: the safety test covers 1 - δ for normal costs. Of 4000 policies whose expected cost is 0, with 40 costs
    # each, δ = .1 pass at a threshold of 0, within four deviations of a binomial share, .019.
    draws = RNG.normal(0, 1.7, (4000, 40))
    passed = np.mean([tr.safety_test(costs, 0.0).safe for costs in draws])
    assert abs(passed - 0.1) < 0.019


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
    # PAR, on the optima that PPO is after: 2000 responses to a prompt, whose reward model errs with a heavy upper tail.
    # Both policies go one nat from the reference, for which one that knew the true rewards would get about √2.
    rng = np.random.default_rng(seed)
    true, reference = rng.normal(0, 1, 2000), np.full(2000, 1 / 2000)
    proxy = true + np.where(rng.random(2000) < 0.01, rng.pareto(1.0, 2000) * 5, 0)
    shaped = tr.par(proxy, np.broadcast_to(rng.choice(proxy, 10), (2000, 10)))
    raw, bounded = tilted(reference, proxy, 1.0), tilted(reference, shaped, 1.0)
    assert raw @ proxy > bounded @ proxy  # what raw rewards are paid for
    assert bounded @ true > 1.0
    assert raw @ true < 0.5


def test_two_opposed_groups_are_served_alike():
    # MaxMin-RLHF: a majority of 70 % likes what the minority dislikes. The mean reward serves it alone, and the policies
    # under multiplicative weights serve both on average.
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
