"""PADLL, as `poz.objectives.padll`."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, sigmoid, softplus
from poz.kernels.plan import PairPlan, Values


@triton.jit
def stepped(chosen, rejected, columns, params):
    """w softplus(-z) with z = β h, w = 0.45 where h = chosen - rejected < 0 and 0.9 elsewhere; d/dh = -w β σ(-z)."""
    h = chosen - rejected
    z, weight = params[0] * h, tl.where(h < 0.0, 0.45, 0.9)
    return along(weight * softplus(-z), -weight * params[0] * sigmoid(-z))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(stepped, (values["beta"],), (1.0,))
