"""TRL: its reward model's loss, of a model that gives the scores of chosen, then of rejected."""

from collections.abc import Callable
from typing import Any

from poz.families import RewardPairs
from poz.peers._library import Library

library = Library("TRL", "trl", since="1.14")


@library.loss("bradley_terry", "RewardTrainer", lacks=("label", "tie"), reduction="mean", topic="reward_model")
def reward() -> Callable[..., Any]:
    from unittest.mock import MagicMock

    import torch
    from trl import RewardTrainer

    def call(pairs: RewardPairs, *, centering: float) -> Any:
        trainer = MagicMock(**{"args.center_rewards_coefficient": centering or None})
        trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda x: x
        scores = torch.cat([pairs.chosen, pairs.rejected])[:, None]
        model = MagicMock(**{"return_value.logits": scores})
        batch = {"attention_mask": torch.ones(len(scores), 2)}
        if pairs.margin is not None:
            batch["margin"] = pairs.margin
        return RewardTrainer.compute_loss(trainer, model, batch)

    return call
