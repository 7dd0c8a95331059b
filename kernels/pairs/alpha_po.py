"""AlphaPO, as `poz.objectives.alpha_po`, on mean log-probs; α = 0 is SimPO."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import expm1, exponential, sigmoid, softplus
from poz.kernels.pairs._points import margin_logistic
from poz.kernels.plan import PairPlan, Values


@triton.jit
def shaped(chosen, rejected, columns, params):
    """softplus(-z) with z = β (r(chosen) - r(rejected)) - γ; d/dz = -σ(-z), r'(p) = E'(-αp), r(p) = (1 - E(-αp)) / α."""
    beta, alpha, gamma = params
    x, y = -alpha * rejected, -alpha * chosen
    z = beta * (gap(x, y) / alpha) - gamma
    slope = -beta * sigmoid(-z)
    return softplus(-z), slope * exponential(y)[1], -slope * exponential(x)[1]


@triton.jit
def gap(x, y):
    """E(x) - E(y) as e^high (1 - e^(low - high)), which loses no digits; E goes on along its tangent beyond e^60."""
    high, low = tl.where(x > y, x, y), tl.where(x > y, y, x)  # unlike tl.maximum, they keep a NaN
    top = tl.where(high > 60.0, 60.0, high)
    below = tl.exp(top) * -expm1(tl.where(low > 60.0, 60.0, low) - top)
    size = below + 1.1420073898156842e26 * (tl.maximum(high - 60.0, 0.0) - tl.maximum(low - 60.0, 0.0))
    return tl.where(x < y, -size, size)


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    beta, alpha, gamma = values["beta"], values["alpha"], values["gamma"]
    if alpha == 0.0:
        return PairPlan(margin_logistic, (beta, gamma, 0.0), mean=True)
    return PairPlan(shaped, (beta, alpha, gamma), mean=True)
