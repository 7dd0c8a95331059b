"""H-DPO, as `poz.objectives.h_dpo`: DPO's logistic loss at αβ, with 1/α of the reference."""

from poz.kernels.pairs._points import logistic
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    alpha = values["alpha"]
    return PairPlan(logistic, (alpha * values["beta"], 0.0), (1.0 / alpha,))
