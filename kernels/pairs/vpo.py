"""VPO, as `poz.objectives.vpo`: the pair part is DPO's; the calibration bonus is equal for all pairs, added outside."""

from poz.kernels.pairs._points import logistic
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(logistic, (values["beta"], 0.0), (1.0,), bonus=values["sign"] * values["alpha"] * values["beta"])
