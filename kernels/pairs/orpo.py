"""ORPO, as `poz.objectives.orpo`, on mean log-probs p of chosen and q of rejected."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import expm1, log1p, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def odds(chosen, rejected, columns, params):
    """λ log(1 + d e^x) - p with x = q - p - log(1 - e^q), d = 1 - e^p; 1 / (1 + d e^x) is never formed where e^x is large.

    ∂/∂x = d e^x / (1 + d e^x), ∂/∂d = e^x / (1 + d e^x); dx/dp = -1, dd/dp = -e^p, dx/dq = 1 / (1 - e^q). A rejected
    completion that is certain counts as q = -1e-12 and gets no gradient.
    """
    certain = rejected >= -1e-12
    q = tl.where(certain, -1e-12, rejected)
    room, doubt = -expm1(q), -expm1(chosen)
    x = q - chosen - tl.log(room)
    large = x > 30.0
    near, far = tl.exp(tl.where(large, 0.0, x)), tl.exp(tl.where(large, -x, 0.0))
    value = tl.where(large, x + tl.log(far + doubt), log1p(doubt * near))
    by_doubt = tl.where(large, 1.0 / (far + doubt), near / (1.0 + doubt * near))
    by_x = doubt * by_doubt
    weight = params[0]
    up = -weight * (by_x + tl.exp(chosen) * by_doubt) - 1.0
    return times(weight, value) - chosen, up, tl.where(certain, 0.0, weight * by_x / room)


def plan(values: Values, anchors: int) -> PairPlan | None:
    """What the pair skeleton is told; None for tokens of the batch, which no pair knows."""
    if values["nll"] == "batch_tokens":
        return None
    return PairPlan(odds, (values["odds_weight"],), mean=True)
