"""CISPO, as `poz.objectives.cispo`."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels.plan import RolloutPlan, Values
from poz.kernels.rollouts._points import bounds, scored


@triton.jit
def weighted(logp, old, log_ratio, log_weight, advantage, params):
    """-A w l with w = clip(r, 1 - low, 1 + high)."""
    low, high = params
    d = tl.where(log_ratio < low, low, log_ratio)
    return scored(logp, tl.exp(tl.where(d > high, high, d)), advantage)


def plan(values: Values, anchors: int) -> RolloutPlan:
    """What the skeleton of rollouts is told."""
    above, floor, *_ = bounds(values)
    return RolloutPlan(weighted, (floor, above))
