"""SLiC-HF, as `poz.objectives.slic_hf`, on summed log-probs."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def hinge(chosen, rejected, columns, params):
    """max(0, δ - (chosen - rejected)) - λ chosen; the hinge's slope is 0 at its kink."""
    delta, weight = params
    short = delta - (chosen - rejected)
    slope = tl.where(short <= 0.0, 0.0, tl.where(short > 0.0, -1.0, short))
    return tl.where(short <= 0.0, 0.0, short) - times(weight, chosen), slope - weight, -slope


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(hinge, (values["delta"], values["regularization_weight"]))
