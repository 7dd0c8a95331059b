"""CPL, as `poz.objectives.cpl`, on discounted sums of per-step log-probs, and its behaviour-cloning term."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def labelled(chosen, rejected, columns, params):
    """softplus(x) y + softplus(x') (1-y) with x = λ A_r - A_c, x' = λ A_c - A_r, A = α score, y = P(chosen better)."""
    alpha, bias = params
    label = columns[0]
    wrong, other = alpha * (bias * rejected - chosen), alpha * (bias * chosen - rejected)
    loss = times(label, softplus(wrong)) + times(1.0 - label, softplus(other))
    ours, theirs = alpha * label * sigmoid(wrong), alpha * (1.0 - label) * sigmoid(other)
    return loss, bias * theirs - ours, bias * ours - theirs


@triton.jit
def cloning(chosen, rejected, columns, params):
    """-(a chosen + b rejected) on mean log-probs; a and b are the weights of the two segments."""
    return -(times(columns[0], chosen) + times(columns[1], rejected)), -columns[0], -columns[1]


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    weight, everything = values["bc_weight"], values["bc_data"] == "all"

    def picked(label: Any) -> list[Any]:  # weight of the mean log-prob of either segment
        chosen, rejected = (label >= 0.5) | everything, (label <= 0.5) | everything
        each = weight / (chosen.double() + rejected.double()).clamp(min=1.0)
        return [(each * side).to(label.dtype) for side in (chosen, rejected)]

    return PairPlan(
        labelled,
        (values["alpha"], values["bias"]),
        (1.0,) if values["regularizer"] == "kl" else (),
        columns=("label",),
        discount=values["discount"],
        cloning=(cloning, picked) if weight else None,
    )


VARIANTS: Variants = ({"bc_weight": 0.1}, {"discount": 0.9, "regularizer": "kl"})
