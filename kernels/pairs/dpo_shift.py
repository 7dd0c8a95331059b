"""DPO-Shift, as `poz.objectives.dpo_shift`."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def shifted(chosen, rejected, columns, params):
    """softplus(-z) with z = β (chosen - λ rejected); d/d chosen = -β σ(-z), d/d rejected = λβ σ(-z)."""
    beta, shift = params
    z = beta * (chosen - times(shift, rejected))
    slope = -beta * sigmoid(-z)
    return softplus(-z), slope, -shift * slope


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(shifted, (values["beta"], values["shift"]), (1.0,))
