"""Running statistics of rewards as explicit state that adds up over batches and ranks, and the shapers that read them.

    state = RunningStats()
    state = update(state, rewards)                # of this batch; then
    shaped = meanstd(rewards, state)
    state = merge(*(one_state_per_rank))          # the same as of one stream, to rounding

Source: the shapers that Fu et al. 2025, arXiv 2502.18770, compare PAR with (PorUna-byte/PAR@b8caf40,
trainers/reward_shaper.py, RunningStats); merged by Chan, Golub and LeVeque's formula. The state is a tuple of numbers or
of arrays without a dimension, of the library of the rewards: it can be carried through `jax.jit` and gathered over
ranks. It holds no graph.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, NamedTuple

from poz._given import given
from poz.backends import Array, Namespace, namespace
from poz.rewards._arrays import scores


class RunningStats(NamedTuple):
    """What was seen so far; `RunningStats()` has seen nothing.

    Attributes:
        count: How many rewards.
        mean: Their mean, in their unit.
        m2: Sum of the squared deviations from the mean.
        min: The least.
        max: The greatest.
    """

    count: Any = 0
    mean: Any = 0.0
    m2: Any = 0.0
    min: Any = math.inf
    max: Any = -math.inf

    @property
    def std(self) -> Any:
        """The population's deviation, √(m2 / count); 0 where nothing was seen."""
        return (self.m2 / (self.count + (self.count == 0))) ** 0.5


@given
def update(state: RunningStats, rewards: Array) -> RunningStats:
    """The state after one more batch.

    Args:
        state: The state before.
        rewards: Of any shape, floating-point; of none, the state stays as it is.

    Raises:
        TypeError: No floating-point array, or one of another library than the state's.
        ValueError: NaN or an infinity, which would stay for ever. Where values cannot be read (on a GPU, under `jit`)
            the deviation is NaN from then on.
    """
    xp, rewards = scores("update", rewards=rewards)
    known = xp.values(rewards)
    if known is not None and not (abs(known) < math.inf).all():
        raise ValueError(
            "update needs finite rewards: a NaN or an infinity would stay in the statistics. Leave them out."
        )
    flat = xp.stop_gradient(rewards).reshape(-1)
    if not flat.shape[0]:
        return state
    mean = xp.mean(flat)
    seen = RunningStats(flat.shape[0], mean, xp.sum((flat - mean) ** 2), -xp.amax(-flat, 0), xp.amax(flat, 0))
    return merge(state, seen)


def merge(*states: RunningStats) -> RunningStats:
    """The state of all streams together, in any order: of ranks, or of parts of one stream. Of none, the empty one.

    Raises:
        TypeError: What is no state, or states of two libraries.
    """
    other = next((state for state in states if not isinstance(state, RunningStats)), None)
    if other is not None:
        raise TypeError(f"merge needs states, each a RunningStats of its own; got {type(other).__name__}.")
    used = {namespace(x).name for state in states for x in state if not isinstance(x, float | int)}
    if len(used) > 1:
        raise TypeError(f"States of one library can be merged; got {' and '.join(sorted(used))}.")
    return reduce(_merged, states, RunningStats())


@given
def meanstd(rewards: Array, state: RunningStats) -> Array:
    """(r - mean) / std, of all that the state has seen; r - mean where that has no variance.

    Args:
        rewards: (...) r.
        state: Usually after `update` with these rewards.

    Returns:
        (...) in deviations.

    Raises:
        TypeError: No floating-point array.
        ValueError: A state that has seen nothing.
    """
    xp, rewards = _seen("meanstd", rewards, state)
    return (rewards - xp.constant(state.mean, rewards)) / _or_one(xp, xp.constant(state.std, rewards))


@given
def clip(rewards: Array, state: RunningStats) -> Array:
    """r, or the nearer end of mean ± std where it lies outside; of slope 0 there.

    Args:
        rewards: (...) r.
        state: Usually after `update` with these rewards.

    Returns:
        (...) in the unit of the rewards.

    Raises:
        TypeError: No floating-point array.
        ValueError: A state that has seen nothing.
    """
    xp, rewards = _seen("clip", rewards, state)
    low, high = (xp.constant(end, rewards) for end in (state.mean - state.std, state.mean + state.std))
    return xp.where(rewards < low, low, xp.where(rewards > high, high, rewards))


@given
def minmax(rewards: Array, state: RunningStats) -> Array:
    """(r - min) / (max - min), of all that the state has seen; r - min where that was one number (the code divides by 0).

    Args:
        rewards: (...) r.
        state: Usually after `update` with these rewards; others may lie outside of [0, 1].

    Returns:
        (...) in [0, 1] for what the state has seen.

    Raises:
        TypeError: No floating-point array.
        ValueError: A state that has seen nothing.
    """
    xp, rewards = _seen("minmax", rewards, state)
    least = xp.constant(state.min, rewards)
    return (rewards - least) / _or_one(xp, xp.constant(state.max, rewards) - least)


def _merged(a: RunningStats, b: RunningStats) -> RunningStats:
    count = a.count + b.count
    share, ahead = b.count / (count + (count == 0)), b.mean - a.mean
    m2 = a.m2 + b.m2 + ahead * ahead * (a.count * share)
    return RunningStats(count, a.mean + ahead * share, m2, _lesser(a.min, b.min), -_lesser(-a.max, -b.max))


def _lesser(a: Any, b: Any) -> Any:
    array = next((x for x in (a, b) if not isinstance(x, float | int)), None)
    return min(a, b) if array is None else namespace(array).where(a < b, a, b)


def _or_one(xp: Namespace, width: Array) -> Array:
    return xp.where(width == 0, xp.ones_like(width), width)


def _seen(function: str, rewards: Array, state: RunningStats) -> tuple[Namespace, Array]:
    count = state.count
    if not isinstance(count, float | int):
        count = namespace(count).values(count)
    if count is not None and count == 0:
        raise ValueError(
            f"{function} needs a state that has seen rewards; got one that has seen none. Call update first."
        )
    xp, rewards = scores(function, rewards=rewards)
    return xp, rewards
