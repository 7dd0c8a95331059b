"""TRL's KTOTrainer: `_compute_loss`, each completion alone with all KL samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poz.families import Unpaired
from poz.peers._library import Library
from poz.peers._trl import Model, inputs, spread, trainer

library = Library("TRL", "trl", since="1.14")

GIVEN = "each completion alone, times its weight"


def _losses(batch: Unpaired, loss_type: str, beta: float, good: float, bad: float) -> Any:
    import torch
    from trl import KTOTrainer

    this = trainer(
        loss_type=loss_type, beta=beta, desirable_weight=good, undesirable_weight=bad, precompute_ref_logps=True,
        calculate_KL=loss_type == "kto", _compute_kl_logps=lambda *_: batch.kl_logps,
    )  # fmt: skip
    losses = []
    for logp, ref, label in zip(batch.logps.split(1), batch.ref_logps.split(1), batch.desirable.split(1), strict=True):
        logps, mask = spread(logp)
        given = inputs(mask) | {"label": label, "ref_logps": ref, "ref_KL_logps": batch.kl_ref_logps}
        losses.append(KTOTrainer._compute_loss(this, Model(logps, mask), given, False))
    return torch.stack(losses) * (1.0 if batch.weights is None else batch.weights)


@library.loss("kto", "KTOTrainer, loss_type='kto'", given=GIVEN, topic="kto_weights")
def kto() -> Callable[..., Any]:
    def call(
        batch: Unpaired, *, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0
    ) -> Any:
        return _losses(batch, "kto", beta, desirable_weight, undesirable_weight)

    return call


@library.loss(
    "kto", "KTOTrainer, loss_type='apo_zero_unpaired'", does="K = 0", settings={"estimator": "zero"}, given=GIVEN,
    topic="kto_baseline",
)  # fmt: skip
def apo_zero_unpaired() -> Callable[..., Any]:
    def call(
        batch: Unpaired, *, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0
    ) -> Any:
        return _losses(batch, "apo_zero_unpaired", beta, desirable_weight, undesirable_weight)

    return call
