"""MODPO, as `poz.objectives.modpo`: DPO's logit less the weighted gap of the other rewards, over the weight."""

from __future__ import annotations

from poz.kernels.pairs._points import linear
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    weight = values["weight"]
    return PairPlan(linear, (values["beta"] / weight, (1.0 - weight) / weight), (1.0,), columns=("margin",))
