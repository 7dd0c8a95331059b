"""Any objective on pairs in OpenRLHF's DPO trainer: exchange(trainer, "simpo", beta=2.0), before trainer.fit(args)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from poz.integrations._pairs import PairLosses
from poz.objective import Objective

NAMES = {"model.beta": "beta", "model.label_smoothing": "label_smoothing"}
DEFAULTS = {
    "model.beta": (0.1, 0.01),
    "model.label_smoothing": (0,),
    "model.ipo_enable": (False,),
}  # of command and class


def exchange(trainer: Any, objective: str | Objective, **params: Any) -> None:
    """Gives a made trainer the objective in the place of its `loss_fn`, and the tokens that it sums over as lengths.

    `nll_loss_coef` and `aux_loss_coef` stay the trainer's, which adds them to any loss. It scores its reference always.

    Args:
        trainer: OpenRLHF's DPOTrainer.
        objective: A name or an objective that pairs of summed log-probs, and their lengths, serve.
        **params: Hyper-parameters.

    Raises:
        TypeError: No objective.
        ValueError: One that cannot be trained here, or an argument of the trainer that it would not follow.
    """
    loss = PairLosses("OpenRLHF", objective, trainer.strategy.accumulated_gradient, **params)
    model = trainer.args.model
    said = dict(zip(DEFAULTS, (trainer.beta, model.label_smoothing, model.ipo_enable), strict=True))
    loss.agree({name: x for name, x in said.items() if x not in DEFAULTS[name]}, NAMES)
    theirs, lengths = trainer._get_batch_logps, list[Tensor]()

    def sums(logps: Tensor, *masks: Any) -> Any:
        lengths[:] = theirs(torch.ones_like(logps), *masks)[0].chunk(2)
        return theirs(logps, *masks)

    def mean(*logps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        losses, chosen, rejected = loss.of(logps[:2], logps[2:], lengths)
        return losses.mean(), chosen, rejected

    trainer._get_batch_logps, trainer.loss_fn = sums, mean
