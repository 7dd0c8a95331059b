"""ONPO, as `poz.objectives.onpo`: IPO's square against the base policy of the round."""

from __future__ import annotations

from poz.kernels.ipo import squared as squared
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(squared, (0.5 * values["eta"],), (1.0,))
