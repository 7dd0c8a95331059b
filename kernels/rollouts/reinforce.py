"""REINFORCE, as `poz.objectives.reinforce`."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import times
from poz.kernels.plan import RolloutPlan, Values


@triton.jit
def score(logp, old, log_ratio, log_weight, advantage, params):
    """-A l; d/dl = -A."""
    return -times(advantage, logp), -advantage


def plan(values: Values, anchors: int) -> RolloutPlan:
    """What the skeleton of rollouts is told."""
    return RolloutPlan(score, ())
