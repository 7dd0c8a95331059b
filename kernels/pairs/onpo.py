"""ONPO, as `poz.objectives.onpo`: IPO's square against the base policy of the round."""

from __future__ import annotations

from poz.kernels.pairs._points import squared_distance
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(squared_distance, (0.5 * values["eta"],), (1.0,))
