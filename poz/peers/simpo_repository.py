"""The repository of SimPO's authors, princeton-nlp/SimPO: a trainer whose `simpo_loss` takes means per token."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs
from poz.peers._checkouts import made, reading
from poz.peers._library import Library

library = Library("SimPO")


FILE = "scripts/simpo_trainer.py", "trl", "wandb"


def _means(pairs: Pairs) -> list[Any]:
    sides = (pairs.chosen, pairs.chosen_len), (pairs.rejected, pairs.rejected_len)
    return [sums / lengths.clamp(min=1) for sums, lengths in sides]


def _loss(loss_type: str) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        with reading(*FILE):
            from simpo_trainer import SimPOTrainer

        def call(pairs: Pairs, *, beta: float, gamma_beta_ratio: float | None, label_smoothing: float = 0.0) -> Any:
            this = made(
                SimPOTrainer, beta=beta, gamma_beta_ratio=0.25 if gamma_beta_ratio is None else gamma_beta_ratio,
                label_smoothing=label_smoothing, loss_type=loss_type, accelerator=SimpleNamespace(device="cpu"),
            )  # fmt: skip
            return this.simpo_loss(*_means(pairs))[0]

        return call

    return make


MEANS = "means per token"
library.loss("simpo", "SimPOTrainer, loss_type='sigmoid'", given=MEANS, topic="simpo_smoothing")(_loss("sigmoid"))
library.loss(
    "simpo", "SimPOTrainer, loss_type='hinge'", given=MEANS, settings={"link": "hinge", "label_smoothing": 0.0},
    does="is the hinge max(0, 1 - z), without label_smoothing",
)(_loss("hinge"))  # fmt: skip


@library.fact(
    "beta is 2 and gamma_beta_ratio 0.25 by default.", gives=[2.0, 0.25], objective="simpo", topic="simpo_margin"
)
def defaults() -> list[float]:
    with reading(*FILE):
        from simpo_config import SimPOConfig
    return [SimPOConfig.beta, SimPOConfig.gamma_beta_ratio]


@library.fact("The NLL of chosen has weight 0 by default, sft_weight.", gives=0.0, objective="simpo", topic="simpo_nll")
def sft_weight() -> float:
    with reading(*FILE):
        from simpo_config import SimPOConfig
    return SimPOConfig.sft_weight  # type: ignore[no-any-return]


@library.fact(
    "The mean of a completion without tokens is NaN.", gives=[math.nan], objective="simpo", topic="empty_mean"
)
def mean_of_no_tokens() -> list[float]:
    import torch

    with reading(*FILE):
        from simpo_trainer import SimPOTrainer
    return SimPOTrainer.get_batch_logps(torch.zeros(1, 3, 2), torch.full((1, 3), -100)).tolist()  # type: ignore[no-any-return]
