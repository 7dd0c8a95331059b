"""REBEL, as `poz.objectives.rebel`: squared distance from η times the known reward gap."""

from __future__ import annotations

from poz.kernels.pairs._points import squared
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(squared, (1.0, values["eta"]), (1.0,), columns=("margin",))
