"""DNO, as `poz.objectives.dno`: cross-entropy to the preference that the gap in win rates implies."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along, sigmoid, soft_label
from poz.kernels.pairs._points import logistic
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def soft(chosen, rejected, columns, params):
    """softplus(-z) + (1-t) z with z = η (chosen - rejected), t = σ(gap); d/dz = (1-t) - σ(-z)."""
    z, miss = params[0] * (chosen - rejected), sigmoid(-columns[0])
    return along(soft_label(z, sigmoid(columns[0]), miss), params[0] * (miss - sigmoid(-z)))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    if values["target"] == "hard":
        return PairPlan(logistic, (values["eta"], 0.0), (1.0,))
    return PairPlan(soft, (values["eta"],), (1.0,), columns=("margin",))


VARIANTS: Variants = ({}, {"target": "hard"})
