"""RPO, as `poz.objectives.reward_aware_po`: MNPO's distances to the known reward gap, and one more."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, log1p, sigmoid, soft_label, times
from poz.kernels.pairs._points import backward_kl, squared
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def forward_kl(chosen, rejected, columns, params):
    """KL of Bernoulli σ(a) from σ(b), a = β (chosen - rejected), b = η margin; d/da = σ(a) σ(-a) (a - b).

    It is the same for -a and -b, and computed where a >= 0, so that σ(-a) keeps its digits.
    """
    a, b = params[0] * (chosen - rejected), params[1] * columns[0]
    side = tl.where(a < 0.0, -1.0, 1.0)
    a, b = side * a, side * b
    miss, tail = sigmoid(-a), tl.exp(-a)
    loss = soft_label(b, 1.0 - miss, miss) - log1p(tail) - times(miss, a)
    return along(loss, side * params[0] * times(sigmoid(a) * miss, a - b))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    point = {"squared": squared, "backward_kl": backward_kl, "forward_kl": forward_kl}[values["distance"]]
    return PairPlan(point, (values["beta"], values["eta"]), (1.0,), columns=("margin",))


VARIANTS: Variants = ({}, {"distance": "backward_kl"}, {"distance": "forward_kl"})
