"""DRO on tokens, as `poz.objectives.dro`."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import times
from poz.kernels.plan import RolloutPlan, Values


@triton.jit
def parabola(logp, old, log_ratio, log_weight, advantage, params):
    """(β/2) d² - A l; d/dl = β d - A."""
    beta = params[0]
    return beta / 2.0 * log_ratio * log_ratio - times(advantage, logp), beta * log_ratio - advantage


def plan(values: Values, anchors: int) -> RolloutPlan:
    """What the skeleton of rollouts is told."""
    return RolloutPlan(parabola, (values["beta"],))
