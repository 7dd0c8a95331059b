"""DPO^γ, as `poz.objectives.dpo_gamma`: DPO with the reference at weight γ."""

from __future__ import annotations

from poz.kernels.pairs._points import logistic
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(logistic, (values["beta"], 0.0), (values["gamma"],))
