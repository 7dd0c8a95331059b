"""Robust DPO, as `poz.objectives.robust_dpo`: DPO debiased for flipped labels."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along, sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def debiased(chosen, rejected, columns, params):
    """softplus(-z) - k z with z = β (chosen - rejected), k = ε / (1 - 2 ε); d/dz = -σ(-z) - k."""
    beta, k = params
    z = beta * (chosen - rejected)
    return along(softplus(-z) - times(k, z), -beta * (sigmoid(-z) + k))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    smoothing = values["label_smoothing"]
    return PairPlan(debiased, (values["beta"], smoothing / (1.0 - 2.0 * smoothing)), (1.0,))
