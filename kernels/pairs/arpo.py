"""ARPO, as `poz.objectives.arpo`, on summed log-probs, with its weight τ of rejected and its NLL from the means."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def adaptive(chosen, rejected, columns, params):
    """softplus(-z) - w p with z = β (chosen - τ rejected), τ' = dτ / dg; n and m are the lengths.

    d/d chosen = -β σ(-z) (1 - τ' rejected / n) - w / n, d/d rejected = β σ(-z) (τ - τ' rejected / m).
    """
    tau, turn = weight(chosen, rejected, columns, params)
    loss, ours, theirs = detached(chosen, rejected, columns, params)
    slope = params[0] * sigmoid(-params[0] * (chosen - tau * rejected)) * times(turn, rejected)
    return loss, ours + slope / tl.maximum(columns[0], 1.0), theirs - slope / tl.maximum(columns[1], 1.0)


@triton.jit
def detached(chosen, rejected, columns, params):
    """The same with τ held constant."""
    beta, nll = params[0], params[1]
    tau, _ = weight(chosen, rejected, columns, params)
    length = tl.maximum(columns[0], 1.0)
    z = beta * (chosen - tau * rejected)
    slope = beta * sigmoid(-z)
    return softplus(-z) - times(nll, chosen / length), -slope - nll / length, slope * tau


@triton.jit
def weight(chosen, rejected, columns, params):
    """τ = min(1, s e^(ρ |g|) - 1) of the gap g of the means p and q, and its slope: ρ s e^(ρ |g|) sign(g), 0 at 1."""
    _, _, scale, rate, full = params
    gap = chosen / tl.maximum(columns[0], 1.0) - rejected / tl.maximum(columns[1], 1.0)
    rise = rate * tl.abs(gap)
    below = rise < full
    grown = scale * tl.exp(tl.where(below, rise, 0.0))
    sign = tl.where(gap > 0.0, 1.0, tl.where(gap < 0.0, -1.0, 0.0))
    return tl.where(below, grown - 1.0, 1.0), tl.where(below, rate * grown * sign, 0.0)


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    scale = values["scale"]
    numbers = (values["beta"], values["nll_weight"], scale, values["rate"], math.log(2.0 / scale))
    return PairPlan(detached if values["detach"] else adaptive, numbers, columns=("chosen_len", "rejected_len"))


VARIANTS: Variants = ({}, {"detach": True})
