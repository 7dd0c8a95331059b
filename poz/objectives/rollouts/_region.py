"""REINFORCE of the tokens that have not left a region of trust."""

from __future__ import annotations

from typing import Any

from poz import terms
from poz.backends import Array
from poz.objectives.rollouts._clipped import least
from poz.objectives.rollouts._steps import Steps


def trusted(at: Steps, outside: Array, cap: Any) -> Array:
    """-sg[min(r, c)] A l, and 0 for what is outside; what is not known to be outside is unknown with its ratio."""
    xp = at.xp
    ratio = xp.exp(least(xp, at.log_ratio, xp.log(terms.numbers(xp, cap, at.log_ratio))))
    kept = xp.where(outside, xp.constant(0.0, ratio), ratio)
    return at.surrogate(terms.times(xp, xp.stop_gradient(kept), at.logps))
