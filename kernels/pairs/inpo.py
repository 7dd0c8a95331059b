"""INPO, as `poz.objectives.inpo`: IPO's square with two anchors, the reference and the current iterate."""

from poz.kernels.pairs._points import squared_distance
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    ratio = 1.0 / 3.0 if values["tau"] is None else values["tau"] / values["eta"]
    return PairPlan(squared_distance, (0.5 / values["eta"],), (ratio, 1.0 - ratio), mean=values["length_normalized"])
