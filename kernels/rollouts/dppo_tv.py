"""DPPO by total variation, as `poz.objectives.dppo_tv`."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from poz.kernels.plan import RolloutPlan, Values
from poz.kernels.rollouts._points import trusted


@triton.jit
def region(logp, old, log_ratio, log_weight, advantage, params):
    """The score of what has not moved too far, in probability."""
    low, high, most = params
    moved = tl.exp(logp) - tl.exp(old)
    outside = tl.where(advantage > 0.0, moved > high, moved < -low)
    return trusted(logp, log_ratio, outside, most, advantage)


def plan(values: Values, anchors: int) -> RolloutPlan:
    """What the skeleton of rollouts is told."""
    bounds = values["divergence_low"], values["divergence_high"], math.log(values["ratio_cap"])
    return RolloutPlan(region, bounds)
