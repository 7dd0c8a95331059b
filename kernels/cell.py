"""CELL, as `poz.objectives.cell`."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, sigmoid, softplus
from poz.kernels.plan import PairPlan, Values


@triton.jit
def exponential(x):
    """e^x and its slope; beyond x = 60 its tangent goes on, as in `poz.terms.exponential`."""
    slope = tl.exp(tl.where(x > 60.0, 60.0, x))
    return slope * (1.0 + tl.where(x > 60.0, x - 60.0, 0.0)), slope


@triton.jit
def combined(chosen, rejected, columns, params):
    """(e^-z + softplus(-z)) / 2 with z = β (chosen - rejected); d/dz = -(e^-z + σ(-z)) / 2."""
    z = params[0] * (chosen - rejected)
    value, slope = exponential(-z)
    return along(0.5 * (value + softplus(-z)), -0.5 * params[0] * (slope + sigmoid(-z)))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(combined, (values["beta"],), (1.0,))
