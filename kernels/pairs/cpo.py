"""CPO, as `poz.objectives.cpo`, on summed log-probs, with an NLL term per token or summed."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, soft_label, times
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def summed(chosen, rejected, columns, params):
    """softplus(-z) + ε z - α chosen with z = β (chosen - rejected); d/dz = ε - σ(-z)."""
    beta, weight, smoothing = params
    z = beta * (chosen - rejected)
    slope = beta * (smoothing - sigmoid(-z))
    return soft_label(z, 1.0 - smoothing, smoothing) - times(weight, chosen), slope - weight, -slope


@triton.jit
def averaged(chosen, rejected, columns, params):
    """The same with α / max(length of chosen, 1) in place of α."""
    length = tl.where(columns[0] < 1.0, 1.0, columns[0])
    return summed(chosen, rejected, columns, (params[0], params[1] / length, params[2]))


def plan(values: Values, anchors: int) -> PairPlan | None:
    """What the pair skeleton is told; None for tokens of the batch, which no pair knows."""
    if values["nll"] == "batch_tokens":
        return None
    params = tuple(values[name] for name in ("beta", "nll_weight", "label_smoothing"))
    return PairPlan(summed, params) if values["nll"] == "sum" else PairPlan(averaged, params, columns=("chosen_len",))


VARIANTS: Variants = ({}, {"nll": "sum"})
