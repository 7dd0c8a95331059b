"""Advantages over a value that other completions of the prompt tell."""

from __future__ import annotations

import math

from poz._given import given
from poz.advantages._members import finite, rewarded
from poz.backends import Array
from poz.rewards._arrays import scores


@given
def optimal(rewards: Array, reference_rewards: Array, *, beta: float = 0.5) -> Array:
    """A*-PO: R - V*, V* = β log mean exp(R_ref / β): what the best policy near the reference is worth. arXiv 2505.20686.

    For `poz.a2po`. Between the mean of the reference's rewards, for a large β, and the greatest of them, for a small one.
    The authors take their `beta1=0` for that mean.

    Args:
        rewards: (batch,) R of completions of the policy.
        reference_rewards: (batch, samples) those of samples of the reference, of the prompt of each completion.
        beta: β > 0, in the unit of the rewards.

    Returns:
        (batch,) advantages in the unit of the rewards.

    Raises:
        TypeError: No floating-point rewards, or two libraries.
        ValueError: Shapes that do not fit, a reward that is not finite, no sample, or a β that is not above 0.
    """
    if not 0 < beta < math.inf:
        raise ValueError(f"optimal needs a finite beta above 0; got {beta!r}.")
    xp, rewards = rewarded("optimal", rewards)
    xp, rewards, reference_rewards = scores("optimal", rewards=rewards, reference_rewards=reference_rewards)
    shape = tuple(reference_rewards.shape)
    if len(shape) != 2 or shape[0] != rewards.shape[0] or not shape[1]:
        raise ValueError(
            f"optimal needs reference_rewards of shape ({rewards.shape[0]}, samples), for each completion those of its prompt, "
            f"one at least; got {shape}."
        )
    finite("optimal", xp, reference_rewards=reference_rewards)
    first = reference_rewards[:, :1]
    above = xp.logsumexp((reference_rewards - first) / beta, -1) - math.log(shape[1])
    return xp.stop_gradient((rewards - first[:, 0]) - beta * above)
