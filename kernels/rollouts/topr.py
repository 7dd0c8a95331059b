"""TOPR, as `poz.objectives.topr`."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels.plan import RolloutPlan, Values, Variants
from poz.kernels.rollouts._points import scored


@triton.jit
def tapered(logp, old, log_ratio, log_weight, advantage, params):
    """-A w l with w = 1 where A > 0, else min(r, 1)."""
    weight = tl.exp(tl.where(log_ratio > 0.0, 0.0, log_ratio))
    return scored(logp, tl.where(advantage > 0.0, 1.0, weight), advantage)


def plan(values: Values, anchors: int) -> RolloutPlan:
    """What the skeleton of rollouts is told."""
    return RolloutPlan(tapered, (), whole="sum" if values["level"] == "sequence" else "", spread=False)


VARIANTS: Variants = ({"level": "sequence"}, {"level": "token"})
