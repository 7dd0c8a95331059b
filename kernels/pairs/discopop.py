"""DiscoPOP, as `poz.objectives.discopop`, the log-ratio modulated loss."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, log1p, sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def modulated(chosen, rejected, columns, params):
    """m e^-z + (1-m) softplus(-z) with z = β (chosen - rejected), m = σ(z/τ).

    d/dz = m e^-z ((1-m)/τ - 1) - (1-m) (m/τ softplus(-z) + σ(-z)). For z < 0 the exponent of m e^-z is
    (1/τ - 1) z - log(1 + e^(z/τ)), where nothing cancels.
    """
    beta, inverse, excess = params  # 1/τ and 1/τ - 1
    z = beta * (chosen - rejected)
    m, rest = sigmoid(inverse * z), sigmoid(-inverse * z)
    grown = tl.exp(tl.where(z < 0.0, times(excess, z), -z) - log1p(tl.exp(-inverse * tl.abs(z))))
    logistic = softplus(-z)
    slope = grown * (rest * inverse - 1.0) - rest * (times(m * inverse, logistic) + sigmoid(-z))
    return along(grown + times(rest, logistic), beta * slope)


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    inverse = 1.0 / values["tau"]
    return PairPlan(modulated, (values["beta"], inverse, inverse - 1.0), (1.0,))
