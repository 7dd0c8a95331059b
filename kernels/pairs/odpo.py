"""ODPO, as `poz.objectives.odpo`: DPO whose logit is lowered by an offset from the known reward gap."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, sigmoid, softplus, times
from poz.kernels.pairs._points import linear
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def logarithm(chosen, rejected, columns, params):
    """The same with α log gap; a gap of 0 makes the pair free."""
    beta, alpha = params
    free = columns[0] == 0.0
    z = beta * (chosen - rejected) - alpha * tl.log(tl.where(free, 1.0, columns[0]))
    return along(tl.where(free, times(0.0, z), softplus(-z)), tl.where(free, 0.0, -beta * sigmoid(-z)))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    point = linear if values["offset"] == "linear" else logarithm
    return PairPlan(point, (values["beta"], values["alpha"]), (1.0,), columns=("margin",))


VARIANTS: Variants = ({}, {"offset": "linear"})
