"""DPPO by binary KL, as `poz.objectives.dppo_kl`."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from poz.kernels._maths import expm1, times
from poz.kernels.plan import RolloutPlan, Values
from poz.kernels.rollouts._points import trusted


@triton.jit
def region(logp, old, log_ratio, log_weight, advantage, params):
    """The score of what has not moved too far, by the KL of the token against all others."""
    low, high, most = params
    was = tl.exp(old)
    others = times(1.0 - was, tl.log(-expm1(old))) - times(1.0 - was, tl.log(-expm1(logp)))
    moved = others - times(was, log_ratio)
    moved = tl.where((logp >= 0.0) & (was < 1.0), float("inf"), moved)  # the others have become impossible
    moved = tl.where(log_ratio == 0.0, 0.0, moved)
    good = advantage > 0.0
    outside = tl.where(good, (moved > high) & (log_ratio > 0.0), (moved > low) & (log_ratio < 0.0))
    return trusted(logp, log_ratio, outside, most, advantage)


def plan(values: Values, anchors: int) -> RolloutPlan:
    """What the skeleton of rollouts is told."""
    bounds = values["divergence_low"], values["divergence_high"], math.log(values["ratio_cap"])
    return RolloutPlan(region, bounds)
