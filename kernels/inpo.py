"""INPO, as `poz.objectives.inpo`: IPO's square with two anchors, the reference and the current iterate."""

from poz.kernels.ipo import squared as squared
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    ratio = 1.0 / 3.0 if values["tau"] is None else values["tau"] / values["eta"]
    return PairPlan(squared, (0.5 / values["eta"],), (ratio, 1.0 - ratio), mean=values["length_normalized"])
