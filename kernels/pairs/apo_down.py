"""APO-down, as `poz.objectives.apo_down`: both completions down, rejected further."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import sigmoid
from poz.kernels.plan import PairPlan, Values


@triton.jit
def down(chosen, rejected, columns, params):
    """σ(β chosen) + σ(-z) with z = β (chosen - rejected); σ' = σ(x) σ(-x)."""
    beta = params[0]
    x, z = beta * chosen, beta * (chosen - rejected)
    pull = beta * sigmoid(z) * sigmoid(-z)
    return sigmoid(x) + sigmoid(-z), beta * sigmoid(x) * sigmoid(-x) - pull, pull


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(down, (values["beta"],), (1.0,))
