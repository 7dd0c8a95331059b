"""DPO and cDPO, as `poz.objectives.dpo`."""

from __future__ import annotations

from poz.kernels.pairs._points import logistic
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(logistic, (values["beta"], values["label_smoothing"]), (1.0,))
