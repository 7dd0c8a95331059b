"""ALMA, the repository of CPO's authors: the loss of its CPO trainer today."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs
from poz.peers._checkouts import made, reading
from poz.peers._library import Library

library = Library("ALMA")


def _loss() -> Callable[..., Any]:
    import torch

    with reading("utils/cpo_trainer.py", "trl", "wandb"):
        from cpo_trainer import CPOTrainer

    def loss(pairs: Pairs, beta: float, scale: float, rate: float) -> Any:
        lengths = torch.cat([pairs.chosen_len, pairs.rejected_len]).clamp(min=1)
        this = made(
            CPOTrainer, beta=beta, relax_cofficient_1=scale, relax_cofficient_2=rate, loss_type="sigmoid",
            label_smoothing=0.0, accelerator=SimpleNamespace(device="cpu"),
        )  # fmt: skip
        return this.cpo_loss(pairs.chosen, pairs.rejected, lengths)[0]

    return loss


@library.loss(
    "arpo",
    "CPOTrainer.cpo_loss",
    settings={"nll_weight": 0.0},
    given="the NLL beside it is left out",
    topic="cpo_is_arpo",
)
def arpo() -> Callable[..., Any]:
    loss = _loss()
    return lambda pairs, *, beta, scale, rate: loss(pairs, beta, scale, rate)


@library.loss(
    "cpo", "CPOTrainer.cpo_loss", settings={"nll_weight": 0.0}, topic="cpo_is_arpo",
    given="the NLL beside it is left out", does="is ARPO, which weighs the rejected log-prob by the gap of the means",
)  # fmt: skip
def cpo() -> Callable[..., Any]:
    loss = _loss()
    return lambda pairs, *, beta: loss(pairs, beta, 0.9, 0.4)
