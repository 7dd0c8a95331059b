"""DCPO, as `poz.objectives.dcpo`."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from poz.kernels._maths import times
from poz.kernels.plan import RolloutPlan, Values
from poz.kernels.rollouts._points import within


@triton.jit
def by_probability(logp, old, log_ratio, log_weight, advantage, params):
    """PPO's surrogate within [(1 + √max(1 - 4 ε_low / p, 0)) / 2, (1 + √(1 + 4 ε_high / p)) / 2], at most the cap; p = e^o."""
    low, high, most = params
    unlikely = 4.0 * tl.exp(tl.where(-old > 80.0, 80.0, -old))
    left = 1.0 - times(low, unlikely)
    floor = tl.log(0.5 + 0.5 * tl.sqrt(tl.where(left <= 0.0, 0.0, left)))
    above = tl.log(0.5 + 0.5 * tl.sqrt(1.0 + times(high, unlikely)))
    return within(log_ratio, log_weight, advantage, (tl.where(above > most, most, above), floor, most, float("inf")))


def plan(values: Values, anchors: int) -> RolloutPlan:
    """What the skeleton of rollouts is told."""
    params = values["epsilon_low"], values["epsilon_high"], math.log(values["ratio_cap"])
    return RolloutPlan(by_probability, params, weighs=True)
