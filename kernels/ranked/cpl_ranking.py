"""CPL on a ranking, as `poz.objectives.cpl_ranking`: every pair of strictly different rewards."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, softplus
from poz.kernels.plan import ListPlan, Values, Variants


@triton.jit
def comparisons(pivot, index, scores, rewards, valid, params):
    """Σ softplus(λ A_i - A_k) over the i with a lower reward than the pivot k, A = α score, and how many there are."""
    alpha, bias = params
    scores = tl.where(rewards == rewards, scores, rewards)  # what is unknown is in every pair, and makes it NaN
    lower = valid & ((rewards < tl.sum(tl.where(index == pivot, rewards, 0.0))) | (rewards != rewards))
    x = alpha * (bias * scores - tl.sum(tl.where(index == pivot, scores, 0.0)))
    slope = tl.where(lower, alpha * sigmoid(x), 0.0)
    gradient = bias * slope - tl.where(index == pivot, tl.sum(slope), 0.0)
    return tl.sum(tl.where(lower, softplus(x), 0.0)), gradient, tl.sum(tl.where(lower, 1.0, 0.0))


def plan(values: Values, anchors: int) -> ListPlan:
    """What the skeleton of ranked lists is told."""
    weights = (1.0,) if values["regularizer"] == "kl" else ()
    return ListPlan(comparisons, (values["alpha"], values["bias"]), weights)


VARIANTS: Variants = ({"regularizer": "kl"},)
