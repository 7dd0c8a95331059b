"""What the choice of an advantage does to a policy gradient, exactly."""

import itertools
import math

import numpy as np
import pytest

from poz import advantages as adv

RNG = np.random.default_rng(6)


def estimates(call, k, p):
    """E[(1/K) Σ A_i ∇ log π(y_i)] for a policy that is right with probability p = σ(θ), over all K-tuples of answers."""
    total = 0.0
    for answers in itertools.product((0.0, 1.0), repeat=k):
        y = np.array(answers)
        total += np.prod(np.where(y > 0, p, 1 - p)) * np.mean(call(y, np.zeros(k, int)) * (y - p))
    return total


@pytest.mark.parametrize("p", [0.03, 0.5, 0.8])
@pytest.mark.parametrize("k", [2, 3, 6])
def test_what_the_baseline_does_to_the_gradient(k, p):
    # RLOO is unbiased, Dr. GRPO has (K - 1) / K of the gradient p (1 - p), and GRPO √(K(K-1)) / (K² p(1-p)) E√(s(K-s)) of
    # it, s of K right: 1/√2 for every p at K = 2, which is no bias to easy or hard prompts. By enumeration.
    gradient = p * (1 - p)
    assert estimates(adv.leave_one_out, k, p) == pytest.approx(gradient, rel=1e-12)
    assert estimates(adv.group_mean, k, p) == pytest.approx((k - 1) / k * gradient, rel=1e-12)
    root = sum(math.comb(k, s) * p**s * (1 - p) ** (k - s) * math.sqrt(s * (k - s)) for s in range(k + 1))
    factor = math.sqrt(k * (k - 1)) / (k**2 * gradient) * root
    assert estimates(adv.group, k, p) == pytest.approx(factor * gradient, rel=1e-12)
    if k == 2:
        assert factor == pytest.approx(1 / math.sqrt(2), rel=1e-12)


def test_pass_at_k_is_the_gradient_of_the_maximum():
    # Pass@k: of K answers the maximum is 1 but with probability (1 - p)^K, whose slope in θ is K (1 - p)^(K-1) p (1 - p)
    k, p = 4, 0.3
    assert k * estimates(adv.pass_at_k, k, p) == pytest.approx(k * (1 - p) ** (k - 1) * p * (1 - p), rel=1e-12)


def test_the_optimal_baseline_has_no_variance_left_to_take():
    # Optimal token baseline: B* minimises Σ W (G - B)² at each place, over the group's completions that reach it
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], bool)
    rewards, logps, collision = RNG.normal(size=(3, 4)), -RNG.uniform(0.1, 2, (3, 4)), RNG.uniform(0.1, 0.9, (3, 4))
    found = adv.optimal_token_baseline(rewards, np.zeros(3, int), mask, logps, collision)
    norm = np.cumsum(np.where(mask, 1 - 2 * np.exp(logps) + collision, 0), 1) * mask
    np.testing.assert_allclose((norm * found).sum(0)[:3], 0, atol=1e-14)
    assert found[0, 3] == rewards[0, 3]  # nobody to be compared with
