"""The reward of whoever is worst off, among several reward models or groups of users.

Source: MaxMin-RLHF, Chakraborty et al. 2024, arXiv 2402.08925. The paper's objective is max_π min_u E[r_u], the minimum
outside of the expectation: `maxmin_weights` of the means. The authors' code (josephxu1234/MaxMinRLHF@ec74f15,
training/robust_rlhf.py; read, not run) has it inside, E[min_u r_u], which is never more: `per_sample_min`.
"""

from __future__ import annotations

import math

from poz._given import given
from poz.backends import Array
from poz.rewards._arrays import scores


@given
def per_sample_min(rewards: Array) -> Array:
    """min_u r_u of each response; its slope is shared equally by the groups that tie.

    Args:
        rewards: (..., U) rewards by U >= 1 groups, in one unit.

    Returns:
        (...) in the unit of the rewards. NaN where one is.

    Raises:
        TypeError: No floating-point array.
        ValueError: No group.
    """
    xp, rewards = scores("per_sample_min", rewards=rewards)
    _groups("per_sample_min", rewards)
    return -xp.amax(-rewards, -1)


@given
def maxmin_weights(means: Array, *, rate: float | None = None) -> Array:
    """Weights λ_u of the groups, so that Σ_u λ_u r_u is the reward to train on.

    1 for the group with the least mean, shared equally by those that tie; or soft, λ_u ∝ e^(-rate · mean_u): equal at a
    rate of 0, and the hard ones as it grows. The rate is the sum of the steps of multiplicative weights. Means on which
    all ranks agree (reduced) give weights on which they agree. Data: no gradient is meant to go through them.

    Args:
        means: (..., U) mean reward of each group under the policy, in one unit.
        rate: At least 0, one over the unit of the rewards; None for hard weights.

    Returns:
        (..., U), at least 0, of sum 1.

    Raises:
        TypeError: No floating-point array.
        ValueError: No group, a negative rate, or means that are not finite, where they can be read.
    """
    xp, means = scores("maxmin_weights", means=means)
    _groups("maxmin_weights", means)
    if rate is not None and not 0 <= rate < math.inf:
        raise ValueError(f"rate must be at least 0 and finite, or None for hard weights; got {rate}.")
    known = xp.values(means)
    if known is not None and not (abs(known) < math.inf).all():
        raise ValueError("maxmin_weights needs finite means: which group is worst off is not known otherwise.")
    least = -xp.amax(-means, -1)[..., None]
    share = xp.astype(means == least, means) if rate is None else xp.exp(-rate * (means - least))
    return share / xp.sum(share, -1)[..., None]


def _groups(function: str, rewards: Array) -> None:
    if not rewards.ndim or not rewards.shape[-1]:
        raise ValueError(f"{function} needs (..., U) rewards of at least one group; got shape {tuple(rewards.shape)}.")
