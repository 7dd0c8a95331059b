"""Any objective on pairs in ms-swift, by a plugin: `poz.integrations.swift.plugin`, or one's own that calls `install`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poz.columns import needs_reference
from poz.integrations._pairs import PairLosses, spoken
from poz.objective import Objective
from poz.torch.scored import SIDES

NAMES = {"beta": "beta", "label_smoothing": "label_smoothing", "simpo_gamma": "gamma", "discopop_tau": "tau"}
DEFAULTS: dict[str, Any] = {"beta": 0.1, "label_smoothing": 0, "simpo_gamma": 1, "discopop_tau": 0.05, "cpo_alpha": 1}
DEFAULTS |= {"loss_type": "sigmoid", "loss_weights": None, "ld_alpha": None}


def install(objective: str | Objective, **params: Any) -> None:
    """Exchanges ms-swift's DPO trainer in this process, with an objective or words such as "simpo beta=2" in its place.

    What cannot be trained, and arguments that the objective would not follow, are refused when ms-swift has read them.

    Raises:
        ValueError: In `megatron rlhf`, which has trainers of its own.
    """
    if Path(sys.argv[0]).parts[-2:] == ("_megatron", "rlhf.py"):
        raise ValueError("poz goes into `swift rlhf`; `megatron rlhf` has trainers of its own. Use the former.")
    from swift.trainers import TrainerFactory
    from swift.utils import get_logger

    theirs = TrainerFactory.get_cls

    def get_cls(args: Any, mapping: Mapping[str, str]) -> Any:
        found, kind = theirs(args, mapping), getattr(args, "rlhf_type", "none")
        if kind != "dpo":
            raise ValueError(f"poz goes into rlhf_type dpo of ms-swift; got {kind}.")
        steps = getattr(getattr(args, "training_args", None), "gradient_accumulation_steps", 1)
        chosen = spoken(objective.split()) if isinstance(objective, str) else objective
        loss = PairLosses("ms-swift", chosen, steps, **params)
        loss.agree({x: getattr(args, x) for x in DEFAULTS if getattr(args, x) != DEFAULTS[x]}, NAMES)
        get_logger().info(f"poz trains {loss.objective!r}, whatever beta and loss_type ms-swift has by default.")
        return exchanged(found, loss) if mapping is TrainerFactory.TRAINER_MAPPING else found

    TrainerFactory.get_cls = staticmethod(get_cls)


def exchanged(base: Any, loss: PairLosses) -> Any:
    """The trainer with another loss, which scores the reference where that is read."""

    class DPOTrainer(base):  # type: ignore[misc]
        def compute_ref_log_probs(self, batch: Any) -> Any:
            return super().compute_ref_log_probs(batch) if needs_reference(loss.objective) else (None, None)

        def dpo_loss(self, *logps: Any) -> Any:  # and the kind, and what the model gave
            return loss.of(logps[:2], logps[2:4], [logps[-1][f"{side}_completion_token_counts"] for side in SIDES])

    return DPOTrainer
