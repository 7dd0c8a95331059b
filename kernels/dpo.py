"""DPO and cDPO, as `poz.objectives.dpo`."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along, sigmoid, soft_label
from poz.kernels.plan import PairPlan, Values


@triton.jit
def logistic(chosen, rejected, columns, params):
    """softplus(-z) + ε z with z = β (chosen - rejected); d/dz = ε - σ(-z)."""
    beta, smoothing = params
    z = beta * (chosen - rejected)
    return along(soft_label(z, 1.0 - smoothing, smoothing), beta * (smoothing - sigmoid(-z)))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(logistic, (values["beta"], values["label_smoothing"]), (1.0,))
