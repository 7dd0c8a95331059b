"""Length-normalised DPO, as `poz.objectives.ln_dpo`: DPO's logistic loss of log-ratios per token."""

from poz.kernels.pairs._points import logistic
from poz.kernels.plan import PairPlan, Values


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(logistic, (values["beta"], 0.0), (1.0,), mean=True)
