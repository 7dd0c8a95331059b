"""IPO, as `poz.objectives.ipo`."""

from __future__ import annotations

from poz.kernels.pairs._points import squared_distance
from poz.kernels.plan import PairPlan, Values, Variants


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(squared_distance, (0.5 / values["tau"],), (1.0,), mean=values["length_normalized"])


VARIANTS: Variants = ({"length_normalized": True},)
