"""XPO, as `poz.objectives.xpo`: the pair part is DPO's; the optimism is the same for every pair, added outside."""

from __future__ import annotations

from poz.kernels.pairs._points import logistic
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(logistic, (values["beta"], 0.0), (1.0,), bonus=values["alpha"])
