"""MNPO, as `poz.objectives.mnpo`: a distance between a = β (chosen - rejected) and a target gap b.

b is a constant, or a multiple of the known reward gap where there is such a column. The hard target (b = ∞) is DPO's
logistic.
"""

from __future__ import annotations

from poz.kernels.pairs._points import backward_kl, logistic, squared
from poz.kernels.plan import PairPlan, Values, Variants


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    ratio = 1.0 / 3.0 if values["tau"] is None else values["tau"] / values["eta"]
    reference = (ratio,) if ratio > 0 else ()
    opponents = anchors - len(reference)
    shares = (1.0 / opponents,) * opponents if values["weights"] is None else tuple(values["weights"])
    weights = (*reference, *((1.0 - ratio) * share for share in shares))
    mean, beta = values["length_normalized"], values["beta"]
    if values["target"] == "hard":
        return PairPlan(logistic, (beta, 0.0), weights, mean=mean)
    number, columns = (values["eta"], ("margin",)) if values["target"] == "reward" else (0.5 / values["eta"], ())
    point = squared if values["distance"] == "squared" else backward_kl
    return PairPlan(point, (beta, number), weights, columns, mean=mean)


VARIANTS: Variants = (
    {},
    {"distance": "backward_kl"},
    {"distance": "backward_kl", "target": "reward", "length_normalized": True},
)
