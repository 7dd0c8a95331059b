"""SimPER, as `poz.objectives.simper`, on mean log-probs."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import exponential
from poz.kernels.plan import PairPlan, Values


@triton.jit
def perplexities(chosen, rejected, columns, params):
    """e^rejected - e^chosen; d/d chosen = -e^chosen, d/d rejected = e^rejected."""
    up, up_slope = exponential(chosen)
    down, down_slope = exponential(rejected)
    return down - up, -up_slope, down_slope


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(perplexities, (), mean=True)
