"""RePO, as `poz.objectives.repo`, on mean log-probs."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along
from poz.kernels.plan import PairPlan, Values


@triton.jit
def hinge(chosen, rejected, columns, params):
    """max(0, s) with s = γ - (chosen - rejected); d/ds = 1 above the kink at 0, 0 on it and below."""
    short = params[0] - (chosen - rejected)
    slope = tl.where(short <= 0.0, 0.0, tl.where(short > 0.0, -1.0, short))
    return along(tl.where(short <= 0.0, 0.0, short), slope)


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(hinge, (values["gamma"],), mean=True)
