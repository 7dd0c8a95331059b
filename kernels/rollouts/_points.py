"""Points that several objectives use."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from poz.kernels._maths import exponential, times
from poz.kernels.plan import Values


@triton.jit
def clipped(logp, old, log_ratio, log_weight, advantage, params):
    """PPO's surrogate, see `within`."""
    return within(log_ratio, log_weight, advantage, params)


@triton.jit
def within(log_ratio, log_weight, advantage, edges):
    """-A w e^k with k = min(d, above) where A > 0, else min(max(min(d, cap), floor), below); no slope where that is not d.

    One exponential: a huge weight of a tiny ratio is neither infinite nor 0.
    """
    above, floor, below, cap = edges
    d = tl.where(log_ratio > cap, cap, log_ratio)
    up = tl.where(d > above, above, d)
    down = tl.where(d < floor, floor, d)
    down = tl.where(down > below, below, down)
    kept = tl.where(advantage > 0.0, up, down)
    free = (kept == log_ratio) | (kept != kept)
    gone = (log_weight == float("-inf")) & (tl.abs(kept) == float("inf"))
    ratio, slope = exponential(tl.where(gone, 0.0, kept) + log_weight)
    return -times(advantage, ratio), -times(advantage, tl.where(free, slope, 0.0))


@triton.jit
def scored(logp, weight, advantage):
    """-A w l with a weight that is constant in the gradient; d/dl = -A w."""
    return -times(advantage, times(weight, logp)), -times(advantage, weight)


@triton.jit
def trusted(logp, log_ratio, outside, most, advantage):
    """-A w l with w = min(r, cap), and 0 for what is outside of the region."""
    weight = tl.exp(tl.where(log_ratio > most, most, log_ratio))
    return scored(logp, tl.where(outside, 0.0, weight), advantage)


def bounds(values: Values) -> tuple[float, float, float, float]:
    """Log-ratios for `clipped`: 1 + ε_high, 1 - ε_low, the dual clip and the cap on the ratio; infinite where there is none."""
    low, high = values["epsilon_low"], values["epsilon_high"]
    dual, cap = (values.get(name) for name in ("dual_clip", "ratio_cap"))
    return math.log1p(high), math.log1p(-low) if low < 1 else -math.inf, _log(dual), _log(cap)


def _log(most: float | None) -> float:
    return math.inf if most is None else math.log(most)
