"""Cal-DPO, as `poz.objectives.cal_dpo`."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def calibrated(chosen, rejected, columns, params):
    """softplus(-h) + c ((chosen - t)² + (rejected + t)²) with h = chosen - rejected, t = 1/(2β).

    d/d chosen = 2c (chosen - t) - σ(-h), d/d rejected = 2c (rejected + t) + σ(-h).
    """
    weight, target = params
    h, over, under = chosen - rejected, chosen - target, rejected + target
    push = sigmoid(-h)
    loss = softplus(-h) + times(weight, over * over + under * under)
    return loss, times(2.0 * weight, over) - push, times(2.0 * weight, under) + push


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(calibrated, (values["calibration_weight"], 0.5 / values["beta"]), (1.0,))
