"""PPO's clipped surrogate, as `poz.objectives.ppo_clip`."""

from __future__ import annotations

from poz.kernels.plan import RolloutPlan, Values
from poz.kernels.rollouts._points import bounds, clipped


def plan(values: Values, anchors: int) -> RolloutPlan:
    """What the skeleton of rollouts is told."""
    return RolloutPlan(clipped, bounds(values), weighs=True)
