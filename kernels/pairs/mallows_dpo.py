"""Mallows-DPO, as `poz.objectives.mallows_dpo`: DPO with β scaled by the dispersion. The Cauchy link has no point."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def dispersed(chosen, rejected, columns, params):
    """softplus(-z) with z = b (chosen - rejected), b = -β κ log(entropy); d/dz = -σ(-z)."""
    scale = params[0] * tl.log(columns[0])
    z = times(scale, chosen - rejected)
    return along(softplus(-z), -scale * sigmoid(-z))


def plan(values: Values, anchors: int) -> PairPlan | None:
    """What the pair skeleton is told."""
    if values["link"] == "cauchy":
        return None
    return PairPlan(dispersed, (-values["beta"] * values["kappa"],), (1.0,), columns=("entropy",))
