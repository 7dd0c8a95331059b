"""Hinge of the implicit reward margin, as `poz.objectives.hinge`: SimPO's hinge on log-ratios, without γ."""

from __future__ import annotations

from poz.kernels.pairs._points import hinge
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(hinge, (values["beta"], 0.0), (1.0,))
