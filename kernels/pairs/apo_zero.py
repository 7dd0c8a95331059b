"""APO-zero, as `poz.objectives.apo_zero`: chosen up and rejected down, each on its own."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import sigmoid
from poz.kernels.plan import PairPlan, Values


@triton.jit
def apart(chosen, rejected, columns, params):
    """σ(-β chosen) + σ(β rejected); σ' = σ(x) σ(-x)."""
    beta = params[0]
    x, y = beta * chosen, beta * rejected
    return sigmoid(-x) + sigmoid(y), -beta * sigmoid(x) * sigmoid(-x), beta * sigmoid(y) * sigmoid(-y)


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(apart, (values["beta"],), (1.0,))
