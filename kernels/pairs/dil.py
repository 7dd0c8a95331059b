"""DIL, as `poz.objectives.dil`, the LSIF and BCE forms. The UKL form takes chosen without its reference."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import exponential, sigmoid, softplus
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def lsif(chosen, rejected, columns, params):
    """e^(2 rejected) / 2 - e^chosen; d/d chosen = -e^chosen, d/d rejected = e^(2 rejected)."""
    up, up_slope = exponential(chosen)
    down, down_slope = exponential(2.0 * rejected)
    return 0.5 * down - up, -up_slope, down_slope


@triton.jit
def bce(chosen, rejected, columns, params):
    """softplus(-chosen) + softplus(rejected); d/d chosen = -σ(-chosen), d/d rejected = σ(rejected)."""
    return softplus(-chosen) + softplus(rejected), -sigmoid(-chosen), sigmoid(rejected)


def plan(values: Values, anchors: int) -> PairPlan | None:
    """What the pair skeleton is told."""
    if values["loss"] == "ukl":
        return None
    return PairPlan({"lsif": lsif, "bce": bce}[values["loss"]], (), (1.0,), mean=values["length_normalized"])


VARIANTS: Variants = ({}, {"loss": "bce"})
