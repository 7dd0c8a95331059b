"""SELM, its authors' repository: DPO with a bonus for samples of the iteration's reference."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs
from poz.peers._checkouts import made, reading
from poz.peers._library import Library

library = Library("SELM")


GIVEN = {"reduction": "mean", "given": "the mean of the samples beside each pair"}


@library.loss("selm", "SELMTrainer.optimistic_dpo_loss", **GIVEN)
@library.loss("vpo", "SELMTrainer.optimistic_dpo_loss", **GIVEN)
def selm() -> Callable[..., Any]:
    with reading("scripts/selm_trainer.py", "trl", "peft"):
        from selm_trainer import SELMTrainer

    def call(pairs: Pairs, *, beta: float, alpha: float) -> Any:
        here = SimpleNamespace(device="cpu")
        this = made(SELMTrainer, beta=beta, alpha=alpha, loss_type="sigmoid", accelerator=here)
        sample, ref_sample = pairs.calibration.mean(), pairs.ref_calibration.mean()
        own, ref = (pairs.chosen, pairs.rejected, sample), (pairs.ref_chosen, pairs.ref_rejected, ref_sample)
        return this.optimistic_dpo_loss(*own, *ref)[0].mean()

    return call
