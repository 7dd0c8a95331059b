"""LCPO-EM (RE-PO), as `poz.objectives.lcpo`, over the point function of its base objective.

`columns` are the logit of the annotator's reliability, then the base's columns as they are and as they are for the swapped
pair. The posterior w = σ(u + logit η), u = L(swapped) - L, is a constant in the gradient.
"""

from __future__ import annotations

from typing import cast

import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, soft_label, times
from poz.kernels.plan import PairPlan, Values, Variants
from poz.kernels.plan import plan as plan_of
from poz.objectives.pairs.simpo import simpo


@triton.jit
def gibbs(chosen, rejected, columns, params, BASE: tl.constexpr):
    """softplus(-u) + (1-w) u; d/du = σ(u) - w = σ(u) (1-w) (1 - η / (1-η)), a product in which nothing cancels."""
    loss, up, down = BASE(chosen, rejected, columns[1 : 1 + len(columns) // 2], params)
    other, other_up, other_down = BASE(rejected, chosen, columns[1 + len(columns) // 2 :], params)
    u = other - loss
    w, miss = sigmoid(u + columns[0]), sigmoid(-u - columns[0])
    slope = sigmoid(u) * miss * (1.0 - tl.exp(columns[0]))
    return soft_label(u, w, miss), slope * (other_down - up), slope * (other_up - down)


@triton.jit
def weighted(chosen, rejected, columns, params, BASE: tl.constexpr):
    """L w + L(swapped) (1-w)."""
    loss, up, down = BASE(chosen, rejected, columns[1 : 1 + len(columns) // 2], params)
    other, other_up, other_down = BASE(rejected, chosen, columns[1 + len(columns) // 2 :], params)
    w, miss = sigmoid(other - loss + columns[0]), sigmoid(loss - other - columns[0])
    return times(w, loss) + times(miss, other), w * up + miss * other_down, w * down + miss * other_up


def plan(values: Values, anchors: int) -> PairPlan | None:
    """What the pair skeleton is told: the base's plan with this point over it."""
    base = cast("PairPlan | None", plan_of(values["base"], anchors))
    if base is None or base.base is not None:
        return None
    both = values["mode"] == "weighted"  # what a pair and its swap have in common leaves u alone
    return base._replace(
        point=weighted if both else gibbs,
        base=base.point,
        bonus=base.bonus if both else None,
        cloning=base.cloning if both else None,
        columns=("reliability", *base.columns, *(f"swapped {name}" for name in base.columns)),
    )


VARIANTS: Variants = ({}, {"base": simpo.bind(smoothing="swap"), "mode": "weighted"})
