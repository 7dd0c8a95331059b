"""SAPO, as `poz.objectives.sapo`."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from poz.kernels._maths import expm1, sigmoid, times
from poz.kernels.plan import RolloutPlan, Values


@triton.jit
def gated(logp, old, log_ratio, log_weight, advantage, params):
    """-(4/τ) σ(z) A with z = τ (r - 1), τ from the sign of A; d/dl = -4 σ(z) σ(-z) r A, which is 0 from z = 800 on."""
    positive, negative, most, most_negative = params
    tau = tl.where(advantage > 0.0, positive, negative)
    most = tl.where(advantage > 0.0, most, most_negative)
    d = tl.where(log_ratio > most, most, log_ratio)
    z = tau * expm1(d)
    gate = sigmoid(z)
    return -times(advantage, 4.0 / tau * gate), -times(advantage, 4.0 * gate * sigmoid(-z) * tl.exp(d))


def plan(values: Values, anchors: int) -> RolloutPlan:
    """What the skeleton of rollouts is told: both τ, and the log-ratios at which z is 800."""
    taus = values["tau_positive"], values["tau_negative"]
    return RolloutPlan(gated, (*taus, *(math.log1p(800.0 / tau) for tau in taus)))
