"""ASPO, as `poz.objectives.aspo`."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from poz.kernels._maths import times
from poz.kernels.plan import RolloutPlan, Values
from poz.kernels.rollouts._points import bounds


@triton.jit
def flipped(logp, old, log_ratio, log_weight, advantage, params):
    """-A w, w = 1 / min(r, 1 + high) where A >= 0, else max(r, 1 - low), with the slope of -A w l where that is not clipped.

    Where w would be above its cap c, which no clipped one is, -A c l.
    """
    high, low, most, most_negative = params
    good = advantage >= 0.0
    clipped = tl.where(good, log_ratio > high, log_ratio < low)
    up, down = tl.where(log_ratio > high, high, log_ratio), tl.where(log_ratio < low, low, log_ratio)
    log_w, most = tl.where(good, -up, down), tl.where(good, most, most_negative)
    capped = log_w > most
    w = tl.exp(tl.where(capped, most, log_w))
    slope = tl.where(clipped, 0.0, w)
    return -times(advantage, w * tl.where(capped, logp, 1.0)), -times(advantage, slope)


def plan(values: Values, anchors: int) -> RolloutPlan:
    """What the skeleton of rollouts is told."""
    above, floor, *_ = bounds(values)
    caps = (math.log(values[f"cap_{side}"]) for side in ("positive", "negative"))
    return RolloutPlan(flipped, (above, floor, *caps))
