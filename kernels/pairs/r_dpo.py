"""R-DPO, as `poz.objectives.r_dpo`: DPO under a reward that charges for length."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along, sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def charged(chosen, rejected, columns, params):
    """softplus(-z) with z = β (chosen - rejected) + α (tokens of chosen - tokens of rejected); d/dz = -σ(-z)."""
    beta, alpha = params
    z = beta * (chosen - rejected) + times(alpha, columns[0] - columns[1])
    return along(softplus(-z), -beta * sigmoid(-z))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(charged, (values["beta"], values["alpha"]), (1.0,), columns=("chosen_len", "rejected_len"))
