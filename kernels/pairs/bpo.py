"""BPO, as `poz.objectives.bpo`: a link of z = β min(chosen, -α rejected); a tie is shared."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import exponential, sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def weaker(chosen, rejected, params):
    """z, dz / d chosen and dz / d rejected."""
    beta, alpha = params
    lost = -alpha * rejected
    first = (chosen < lost) | (chosen != chosen)
    tie = chosen == lost
    ours = tl.where(tie, 0.5 * beta, tl.where(first, beta, 0.0))
    theirs = tl.where(tie, 0.5 * beta, tl.where(first, 0.0, beta))
    return beta * tl.where(first, chosen, lost), ours, -alpha * theirs


@triton.jit
def logistic(chosen, rejected, columns, params):
    """softplus(-z); d/dz = -σ(-z)."""
    z, ours, theirs = weaker(chosen, rejected, params)
    slope = -sigmoid(-z)
    return softplus(-z), ours * slope, theirs * slope


@triton.jit
def hinge(chosen, rejected, columns, params):
    """max(0, 1 - z); d/dz = -1 below the kink at z = 1, 0 on it and above."""
    z, ours, theirs = weaker(chosen, rejected, params)
    slope = tl.where(z >= 1.0, 0.0, tl.where(z < 1.0, -1.0, z))
    return tl.where(z >= 1.0, 0.0, 1.0 - z), ours * slope, theirs * slope


@triton.jit
def square(chosen, rejected, columns, params):
    """(1 - z)²; d/dz = -2 (1 - z)."""
    z, ours, theirs = weaker(chosen, rejected, params)
    short = 1.0 - z
    return short * short, times(ours, -2.0 * short), times(theirs, -2.0 * short)


@triton.jit
def exponent(chosen, rejected, columns, params):
    """e^-z; d/dz = -e^-z."""
    z, ours, theirs = weaker(chosen, rejected, params)
    value, slope = exponential(-z)
    return value, -ours * slope, -theirs * slope


@triton.jit
def truncated_quadratic(chosen, rejected, columns, params):
    """max(0, 1 - z)²; d/dz = -2 max(0, 1 - z)."""
    z, ours, theirs = weaker(chosen, rejected, params)
    short = tl.where(z >= 1.0, 0.0, 1.0 - z)
    return short * short, times(ours, -2.0 * short), times(theirs, -2.0 * short)


@triton.jit
def savage(chosen, rejected, columns, params):
    """σ(-z)²; d/dz = -2 σ(-z)² σ(z)."""
    z, ours, theirs = weaker(chosen, rejected, params)
    value = sigmoid(-z) * sigmoid(-z)
    slope = -2.0 * value * sigmoid(z)
    return value, ours * slope, theirs * slope


LINKS = {
    "logistic": logistic,
    "hinge": hinge,
    "square": square,
    "exponential": exponent,
    "truncated_quadratic": truncated_quadratic,
    "savage": savage,
}


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(LINKS[values["link"]], (values["beta"], values["alpha"]), (1.0,))


VARIANTS: Variants = tuple({"link": link} for link in LINKS)
