"""poz's DPOTrainer with what Axolotl adds to TRL's."""

from __future__ import annotations

from typing import Any

from axolotl.core.trainers.dpo.trainer import AxolotlDPOTrainer
from axolotl.integrations.base import PluginManager

from poz.columns import needs_reference
from poz.integrations import trl
from poz.integrations._pairs import spoken


class DPOTrainer(AxolotlDPOTrainer, trl.DPOTrainer):  # type: ignore[misc]
    """Trains the objective that the yaml names; a reference that it does not read is let go of."""

    def __init__(self, model: Any, ref_model: Any = None, **kwargs: Any) -> None:
        objective = spoken(PluginManager.get_instance().cfg.poz.split())
        reference = ref_model if needs_reference(objective) else None
        super().__init__(model, reference, objective=objective, **kwargs)
