"""EXO on pairs, as `poz.objectives.exo`: KL of Bernoulli σ(z) from the smoothed label."""

from __future__ import annotations

import math

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along, sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def reverse(chosen, rejected, columns, params):
    """σ(z) (log σ(z) - log(1-ε)) + σ(-z) (log σ(-z) - log ε), z = β (chosen - rejected); d/dz = σ(z) σ(-z) (z - logit(1-ε)).

    The terms of d log σ cancel: σ(z) σ(-z) - σ(-z) σ(z) = 0.
    """
    beta, right, wrong = params
    z = beta * (chosen - rejected)
    hit, miss = sigmoid(z), sigmoid(-z)
    loss = times(hit, -softplus(-z) - right) + times(miss, -softplus(z) - wrong)
    return along(loss, beta * times(hit * miss, z - (right - wrong)))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    smoothing = values["label_smoothing"]
    return PairPlan(reverse, (values["beta"], math.log1p(-smoothing), math.log(smoothing)), (1.0,))
