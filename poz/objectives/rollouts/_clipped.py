"""PPO's clipped ratio, in log space: whatever the log-ratio, a clipped one has no gradient, and no NaN."""

from __future__ import annotations

from typing import Any

from poz import terms
from poz.backends import Array, Namespace
from poz.objectives.rollouts._steps import Steps, log


def clipped(at: Steps, log_ratio: Array, low: Any, high: Any, dual: Any = None, cap: Any = None) -> Array:
    """w R with -A R = -min(r A, clip(r, 1 - low, 1 + high) A), r the exponential of the log-ratio, w the sampler's weight.

    Where A > 0 that is r up to 1 + high, elsewhere r from 1 - low on; with `dual` at most that there (dual-clip PPO), and
    with `cap` r itself is at most that, before anything else (two-sided clipping).
    """
    xp = at.xp
    d = log_ratio if cap is None else least(xp, log_ratio, xp.log(terms.numbers(xp, cap, log_ratio)))
    above = least(xp, d, xp.log1p(terms.numbers(xp, high, d)))
    floor = log(xp, 1 - terms.numbers(xp, low, d))
    below = xp.where(d < floor, floor, d)
    if dual is not None:
        below = least(xp, below, xp.log(terms.numbers(xp, dual, d)))
    return at.weighted(xp.where(at.advantages > 0, above, below))


def least(xp: Namespace, x: Array, most: Array) -> Array:
    """The smaller one; where they are equal the slope is that of x."""
    return xp.where(x > most, most, x)
