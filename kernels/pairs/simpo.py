"""SimPO, as `poz.objectives.simpo`, on mean log-probs: released smoothing, that of the swapped pair, and hinge."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along, sigmoid, softplus, times
from poz.kernels.pairs._points import hinge, margin_logistic
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def swapped(chosen, rejected, columns, params):
    """(1-ε) softplus(-z) + ε softplus(-z') with z' = β (rejected - chosen) - γ, the logit of the swapped pair."""
    beta, gamma, smoothing = params
    z = beta * (chosen - rejected) - gamma
    other = beta * (rejected - chosen) - gamma
    loss = times(1.0 - smoothing, softplus(-z)) + times(smoothing, softplus(-other))
    return along(loss, beta * (smoothing * sigmoid(-other) - (1.0 - smoothing) * sigmoid(-z)))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    beta, gamma, ratio = values["beta"], values["gamma"], values["gamma_beta_ratio"]
    if gamma is None:
        gamma = beta * (0.25 if ratio is None else ratio)
    if values["link"] == "hinge":
        return PairPlan(hinge, (beta, gamma), mean=True)
    point = {"trl": margin_logistic, "swap": swapped}[values["smoothing"]]
    return PairPlan(point, (beta, gamma, values["label_smoothing"]), mean=True)


VARIANTS: Variants = ({}, {"smoothing": "swap"}, {"link": "hinge"})
