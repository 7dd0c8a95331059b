"""MNPO, as `poz.objectives.mnpo`: a distance between a = β (chosen - rejected) and a target gap b.

b is a constant, or a multiple of the known reward gap where there is such a column. The hard target (b = ∞) is DPO's
logistic.
"""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, log1p, sigmoid, soft_label, times
from poz.kernels.dpo import logistic
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def squared(chosen, rejected, columns, params):
    """(a - b)²; d/da = 2 (a - b)."""
    error = params[0] * (chosen - rejected) - target(columns, params[1])
    return along(error * error, 2.0 * params[0] * error)


@triton.jit
def backward_kl(chosen, rejected, columns, params):
    """KL of Bernoulli σ(b) from σ(a): cross-entropy minus entropy; d/da = σ(a) - σ(b) = σ(-b) - σ(-a).

    It is the same for -a and -b, and computed where b >= 0, so that σ(-b) keeps its digits.
    """
    b = target(columns, params[1])
    side = tl.where(b < 0.0, -1.0, 1.0)
    a, b = side * params[0] * (chosen - rejected), side * b
    miss, tail = sigmoid(-b), tl.exp(-b)
    loss = soft_label(a, 1.0 - miss, miss) - log1p(tail) - times(miss, b)
    return along(loss, side * params[0] * (miss - sigmoid(-a)))


@triton.jit
def target(columns, number):
    """The gap b: `number`, times the known reward gap where it is given."""
    if len(columns) > 0:
        return number * columns[0]
    else:
        return number


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    ratio = 1.0 / 3.0 if values["tau"] is None else values["tau"] / values["eta"]
    reference = (ratio,) if ratio > 0 else ()
    opponents = anchors - len(reference)
    shares = (1.0 / opponents,) * opponents if values["weights"] is None else tuple(values["weights"])
    weights = (*reference, *((1.0 - ratio) * share for share in shares))
    mean, beta = values["length_normalized"], values["beta"]
    if values["target"] == "hard":
        return PairPlan(logistic, (beta, 0.0), weights, mean=mean)
    number, columns = (values["eta"], ("margin",)) if values["target"] == "reward" else (0.5 / values["eta"], ())
    point = squared if values["distance"] == "squared" else backward_kl
    return PairPlan(point, (beta, number), weights, columns, mean=mean)


VARIANTS: Variants = (
    {},
    {"distance": "backward_kl"},
    {"distance": "backward_kl", "target": "reward", "length_normalized": True},
)
