"""CELL, as `poz.objectives.cell`."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along, exponential, sigmoid, softplus
from poz.kernels.plan import PairPlan, Values


@triton.jit
def combined(chosen, rejected, columns, params):
    """(e^-z + softplus(-z)) / 2 with z = β (chosen - rejected); d/dz = -(e^-z + σ(-z)) / 2."""
    z = params[0] * (chosen - rejected)
    value, slope = exponential(-z)
    return along(0.5 * (value + softplus(-z)), -0.5 * params[0] * (slope + sigmoid(-z)))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(combined, (values["beta"],), (1.0,))
