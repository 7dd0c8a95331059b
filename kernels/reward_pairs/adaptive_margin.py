"""Adaptive margins, flips and smoothing, as `poz.objectives.adaptive_margin`."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from poz.kernels._maths import along, sigmoid, soft_label, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def by_strength(chosen, rejected, columns, params):
    """softplus(-z) + a z with z = s (r_w - r_l - λ μ), s = -1 of a flipped pair; d/dz = a - σ(-z)."""
    scale, flip_below, smooth_below, smoothing = params
    side = tl.where(columns[0] < flip_below, -1.0, 1.0)
    z = side * (chosen - rejected - times(scale, columns[0]))
    miss = tl.where(side * columns[0] < smooth_below, smoothing, 0.0)
    return along(soft_label(z, 1.0 - miss, miss), side * (miss - sigmoid(-z)))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    flip = -math.inf if values["flip_below"] is None else values["flip_below"]
    smooth = math.inf if values["smooth_below"] is None else values["smooth_below"]
    return PairPlan(
        by_strength, (values["margin_scale"], flip, smooth, values["label_smoothing"]), columns=("strength",)
    )
