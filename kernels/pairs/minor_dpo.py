"""MinorDPO, as `poz.objectives.minor_dpo`."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, softplus
from poz.kernels.plan import PairPlan, Values


@triton.jit
def one_sided(chosen, rejected, columns, params):
    """softplus(-z) with z = β (chosen - max(0, rejected)); d/dz = -σ(-z), and 0 in rejected at and below 0."""
    idle = rejected <= 0.0
    z = params[0] * (chosen - tl.where(idle, 0.0, rejected))
    slope = -params[0] * sigmoid(-z)
    return softplus(-z), slope, tl.where(idle, 0.0, -slope)


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(one_sided, (values["beta"],), (1.0,))
