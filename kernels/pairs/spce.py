"""SPCE, as `poz.objectives.spce`: cross-entropy to a soft label."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along, sigmoid, soft_label
from poz.kernels.plan import PairPlan, Values


@triton.jit
def labelled(chosen, rejected, columns, params):
    """softplus(-z) + (1-y) z with z = β (chosen - rejected), y = P(chosen better); d/dz = (1-y) - σ(-z)."""
    z, miss = params[0] * (chosen - rejected), 1.0 - columns[0]
    return along(soft_label(z, columns[0], miss), params[0] * (miss - sigmoid(-z)))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(labelled, (values["beta"],), (1.0,), columns=("label",))
