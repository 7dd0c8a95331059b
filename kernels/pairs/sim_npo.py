"""SimNPO, as `poz.objectives.sim_npo`, on mean log-probs."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import sigmoid, softplus, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def forgetting(chosen, rejected, columns, params):
    """2ω/β softplus(z) - ρ chosen with z = β (rejected + γ); d/d chosen = -ρ, d/d rejected = 2ω σ(z)."""
    beta, gamma, twice, factor, retain = params  # 2ω and 2ω/β
    z = beta * (rejected + gamma)
    return times(factor, softplus(z)) - times(retain, chosen), -retain, twice * sigmoid(z)


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    beta, twice = values["beta"], 2.0 * values["forget_weight"]
    return PairPlan(forgetting, (beta, values["gamma"], twice, twice / beta, values["retain_weight"]), mean=True)
