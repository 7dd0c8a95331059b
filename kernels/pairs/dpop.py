"""DPOP (Smaug), as `poz.objectives.dpop`: the penalty stands inside the logit."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def penalised(chosen, rejected, columns, params):
    """softplus(-z) with z = β (chosen - rejected - λ max(0, -chosen)); the penalty's slope is 0 at its kink."""
    beta, penalty = params
    lost = tl.where(chosen >= 0.0, 0.0, -chosen)
    z = beta * (chosen - rejected - times(penalty, lost))
    slope = -beta * sigmoid(-z)
    return softplus(-z), slope * (1.0 + tl.where(chosen < 0.0, penalty, 0.0)), -slope


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(penalised, (values["beta"], values["penalty"]), (1.0,))
