"""MM-DPO, as `poz.objectives.mm_dpo`, dynamic reward scaling."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, expm1, sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def scaled(chosen, rejected, columns, params):
    """softplus(-z), z = b (chosen - rejected), b = β (1 + w (1 - e^(-k max(margin, 0)))); d/dz = -σ(-z)."""
    beta, w, k = params
    known = tl.where(columns[0] <= 0.0, 0.0, columns[0])
    scale = beta * (1.0 - times(w, expm1(-k * known)))
    z = scale * (chosen - rejected)
    return along(softplus(-z), -scale * sigmoid(-z))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(scaled, (values["beta"], values["w"], values["k"]), (1.0,), columns=("margin",))
