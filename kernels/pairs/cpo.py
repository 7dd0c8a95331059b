"""CPO, as `poz.objectives.cpo`, on summed log-probs, with an NLL term per token or summed."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def summed(chosen, rejected, columns, params):
    """softplus(-z) - α chosen with z = β (chosen - rejected); d/dz = -σ(-z)."""
    beta, weight = params
    z = beta * (chosen - rejected)
    slope = -beta * sigmoid(-z)
    return softplus(-z) - times(weight, chosen), slope - weight, -slope


@triton.jit
def averaged(chosen, rejected, columns, params):
    """The same with α / max(length of chosen, 1) in place of α."""
    length = tl.where(columns[0] < 1.0, 1.0, columns[0])
    return summed(chosen, rejected, columns, (params[0], params[1] / length))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    beta, weight = values["beta"], values["nll_weight"]
    if values["nll"] == "sum":
        return PairPlan(summed, (beta, weight))
    return PairPlan(averaged, (beta, weight), columns=("chosen_len",))


VARIANTS: Variants = ({}, {"nll": "sum"})
