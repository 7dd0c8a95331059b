"""χPO, as `poz.objectives.chi_po`."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import exponential, sigmoid, softplus
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def linked(chosen, rejected, columns, params):
    """softplus(-z), z = β (φ(a) - φ(b)), φ(x) = e^x + x; d/da = -β σ(-z) (e^a + 1), d/db = β σ(-z) (e^b + 1)."""
    z, ours, theirs = logit(chosen, rejected, params[0])
    slope = -sigmoid(-z)
    return softplus(-z), slope * ours, slope * theirs


@triton.jit
def clipped(chosen, rejected, columns, params):
    """The same with z held within ±clip; the slope is 0 at the ends and beyond."""
    z, ours, theirs = logit(chosen, rejected, params[0])
    clip = params[1]
    held = tl.where(z > clip, clip, tl.where(z < -clip, -clip, z))
    slope = tl.where(tl.abs(z) >= clip, 0.0, -sigmoid(-z))
    return softplus(-held), slope * ours, slope * theirs


@triton.jit
def logit(chosen, rejected, beta):
    """z, dz / d chosen and dz / d rejected."""
    up, up_slope = exponential(chosen)
    down, down_slope = exponential(rejected)
    return beta * (up - down + (chosen - rejected)), beta * (up_slope + 1.0), -beta * (down_slope + 1.0)


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    beta, clip = values["beta"], values["clip"]
    return PairPlan(linked, (beta,), (1.0,)) if clip is None else PairPlan(clipped, (beta, clip), (1.0,))


VARIANTS: Variants = ({}, {"clip": 10.0})
