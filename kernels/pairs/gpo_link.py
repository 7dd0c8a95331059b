"""GPO, as `poz.objectives.gpo_link`: a classification loss of z = β (chosen - rejected)."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, exponential, sigmoid
from poz.kernels.pairs._points import hinge, logistic, squared
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def exponent(chosen, rejected, columns, params):
    """e^-z; d/dz = -e^-z."""
    value, slope = exponential(-params[0] * (chosen - rejected))
    return along(value, -params[0] * slope)


@triton.jit
def truncated_quadratic(chosen, rejected, columns, params):
    """max(0, 1 - z)²; d/dz = -2 max(0, 1 - z)."""
    z = params[0] * (chosen - rejected)
    short = tl.where(z >= 1.0, 0.0, 1.0 - z)
    return along(short * short, -2.0 * params[0] * short)


@triton.jit
def savage(chosen, rejected, columns, params):
    """σ(-z)²; d/dz = -2 σ(-z)² σ(z)."""
    z = params[0] * (chosen - rejected)
    value = sigmoid(-z) * sigmoid(-z)
    return along(value, -2.0 * params[0] * value * sigmoid(z))


LINKS = {
    "logistic": (logistic, 0.0),
    "hinge": (hinge, 0.0),
    "square": (squared, 1.0),
    "exponential": (exponent,),
    "truncated_quadratic": (truncated_quadratic,),
    "savage": (savage,),
}


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    point, *more = LINKS[values["link"]]
    return PairPlan(point, (values["beta"], *more), (1.0,))


VARIANTS: Variants = tuple({"link": link} for link in LINKS)
