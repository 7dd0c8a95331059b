"""RainbowPO, as `poz.objectives.rainbow_po`, on mean log-probs: SimPO sharpened by the dispersion of the reference."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, sigmoid, softplus
from poz.kernels.pairs._points import margin_logistic
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def dispersed(chosen, rejected, columns, params):
    """softplus(-z) with z = -βκ log(entropy) (chosen - rejected - home); d/dz = -σ(-z)."""
    factor, home = params
    scale = -factor * tl.log(columns[0])
    z = scale * (chosen - rejected - home)
    return along(softplus(-z), -scale * sigmoid(-z))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    beta, alpha, kappa = values["beta"], values["alpha"], values["kappa"]
    home = (1.0 - alpha) * values["h"]
    if kappa is None:
        return PairPlan(margin_logistic, (beta, beta * home, 0.0), (alpha,), mean=True)
    return PairPlan(dispersed, (beta * kappa, home), (alpha,), columns=("entropy",), mean=True)


VARIANTS: Variants = ({}, {"kappa": 0.29})
