"""EGPO, as `poz.objectives.egpo`: squared distance from the gap of two win rates over β."""

from __future__ import annotations

from poz.kernels.pairs._points import squared
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(squared, (1.0, 1.0 / values["beta"]), (1.0,), ("margin",), mean=values["length_normalized"])
