"""AltPO, as `poz.objectives.alt_po`, the forget loss."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along, sigmoid, softplus
from poz.kernels.plan import PairPlan, Values


@triton.jit
def rescaled(chosen, rejected, columns, params):
    """2/β softplus(-z) with z = β (chosen - rejected); d/d(chosen - rejected) = -2 σ(-z)."""
    beta, factor = params
    z = beta * (chosen - rejected)
    return along(factor * softplus(-z), -2.0 * sigmoid(-z))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(rescaled, (values["beta"], 2.0 / values["beta"]), (1.0,))
