"""Entry into verl's registry of policy losses."""

from __future__ import annotations

from typing import Any

import poz
from poz.integrations.verl import settings
from poz.integrations.verl.loss import policy_loss
from poz.objective import Objective


def register(*objectives: Objective | str, **hyper: Any) -> tuple[str, ...]:
    """Registers objectives with verl, each as "poz:" and its name, in this process.

    Args:
        objectives: Objectives on `poz.Rollouts`, or their names; every one that verl can feed if none is given.
        hyper: Hyper-parameters of theirs, as `policy_loss` takes them.

    Returns:
        The names, for `actor.policy_loss.loss_mode`.

    Raises:
        ImportError: verl is not there.
        TypeError: What `policy_loss` refuses.
        ValueError: The same.
    """
    try:
        from verl.trainer.ppo.core_algos import register_policy_loss
    except ImportError as error:
        raise ImportError(f"poz registers objectives with verl, which cannot be imported: {error}.") from error
    chosen = objectives or [one for one in poz.zoo.values() if settings.problem(one, {}) is None]
    made = {f"poz:{settings.found(one).name}": policy_loss(one, **hyper) for one in chosen}
    for name, loss in made.items():
        register_policy_loss(name)(loss)
    return tuple(made)
