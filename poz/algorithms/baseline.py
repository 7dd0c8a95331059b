"""BCO's baseline δ: the mean of every reward seen so far, as explicit state and pure functions.

    state = init(like=batch.logps)
    state = update(state, sums(batch.logps, batch.ref_logps, beta=0.1))   # add the sums up over all ranks first
    losses = poz.bco(batch, beta=0.1, baseline=value(state))              # the current batch is included

In evaluation, use `value(state)` and do not update. Works on NumPy, torch and JAX arrays, and under `jax.jit`.
Source: Jung et al. 2024, arXiv 2404.04656; the cumulative count-weighted mean over both classes and the bounds of the
weights are those of TRL's trainer, not checked against the paper.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poz._given import given
from poz.backends import Array, namespace


class Sums(NamedTuple):
    """What one batch, or all batches so far, add up to; the part that ranks and micro-batches add.

    Attributes:
        total: Sum of the rewards β log(π/π_ref), a scalar.
        count: Number of completions, a scalar.
    """

    total: Array
    count: Array


@given
def init(*, like: Array = None) -> Sums:
    """The state before the first batch.

    Args:
        like: An array of the wanted library, dtype and device; NumPy float64 where it is not given.
    """
    like = np.zeros(0) if like is None else like
    xp = namespace(like)
    like = xp.widen(like) if xp.kind(like) == "half" else like  # sums of many need the digits
    return Sums(xp.constant(0.0, like), xp.constant(0.0, like))


@given
def sums(logps: Array, ref_logps: Array, *, beta: float | Array) -> Sums:
    """Adds the rewards of a batch up, good and bad completions alike, as data; a NaN counts as no completion.

    Args:
        logps: (batch,) summed log-probs under the policy, in nats.
        ref_logps: (batch,) the same under the reference policy.
        beta: β of the loss.
    """
    xp = namespace(logps)
    ratio = logps - ref_logps
    rewards = xp.stop_gradient(beta * (xp.widen(ratio) if xp.kind(ratio) == "half" else ratio))
    known = rewards == rewards
    counted = xp.astype(known, rewards)
    return Sums(xp.sum(xp.where(known, rewards, counted)), xp.sum(counted))


@given
def update(state: Sums, found: Sums) -> Sums:
    """The state after a batch; each completion counts once, whatever the size of its batch."""
    return Sums(state.total + found.total, state.count + found.count)


@given
def value(state: Sums) -> Array:
    """δ, the mean so far; 0 before the first completion."""
    return state.total / namespace(state.total).maximum(state.count, 1.0)


@given
def density_ratio_weights(probability: Array, desirable: Array) -> Array:
    """Weights for `poz.bco` where the prompts of good and of bad completions differ.

    Bad completions get p / (1 - p) within [0.5, 10], good ones 1.

    Args:
        probability: (batch,) p in [0, 1], a classifier's probability that the prompt comes from the good ones.
        desirable: (batch,) true where the completion is a good one.

    Raises:
        ValueError: p outside [0, 1].
    """
    xp = namespace(probability)
    known = xp.values(probability)
    if known is not None and ((known < 0) | (known > 1)).any():
        raise ValueError(f"probability must lie in [0, 1]; got {known.min()} to {known.max()}.")
    inside = xp.clip(probability, 0.3, 0.95)  # the ratio is at its bounds before these
    return xp.where(desirable, xp.ones_like(probability), xp.clip(inside / (1 - inside), 0.5, 10.0))
