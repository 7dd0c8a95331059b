"""AlphaPO, as `poz.objectives.alpha_po`, on mean log-probs; α = 0 is SimPO."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, softplus
from poz.kernels.cell import exponential
from poz.kernels.mm_dpo import expm1
from poz.kernels.plan import PairPlan, Values
from poz.kernels.simpo import logistic


@triton.jit
def shaped(chosen, rejected, columns, params):
    """softplus(-z) with z = β (r(chosen) - r(rejected)) - γ; d/dz = -σ(-z), r'(p) = e^(-αp)."""
    beta, alpha, gamma = params
    up, up_slope = reward(chosen, alpha)
    down, down_slope = reward(rejected, alpha)
    z = beta * (up - down) - gamma
    slope = -beta * sigmoid(-z)
    return softplus(-z), slope * up_slope, -slope * down_slope


@triton.jit
def reward(score, alpha):
    """r(p) = (1 - e^(-αp)) / α and its slope; the exponential goes on along its tangent beyond e^60."""
    x = -alpha * score
    value, slope = exponential(x)
    return -tl.where(x < 1.0, expm1(x), value - 1.0) / alpha, slope


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    beta, alpha, gamma = values["beta"], values["alpha"], values["gamma"]
    if alpha == 0.0:
        return PairPlan(logistic, (beta, gamma, 0.0), mean=True)
    return PairPlan(shaped, (beta, alpha, gamma), mean=True)
