"""Liger-Kernel: the losses of `liger_kernel.chunked_loss`, which take log-probs and give a sum over the pairs of the batch."""

from collections.abc import Callable
from typing import Any

from poz.families import Pairs
from poz.peers._library import Library

library = Library("Liger", "liger-kernel")


def _dpo(loss_type: str) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        import torch
        from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction

        def call(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Any:
            target = torch.empty(2 * len(pairs.chosen), 1)
            loss = LigerFusedLinearDPOFunction.preference_loss_fn(
                pairs.chosen, pairs.rejected, target, pairs.ref_chosen, pairs.ref_rejected, beta=beta,
                loss_type=loss_type, label_smoothing=label_smoothing,
            )  # fmt: skip
            return loss[0] if isinstance(loss, tuple) else loss

        return call

    return make


for loss_type, objective, rest in [
    ("sigmoid", "dpo", {"does": "ignores label_smoothing", "settings": {"label_smoothing": 0.0}}),
    ("hinge", "hinge", {}),
    ("exo_pair", "exo", {}),
    ("robust", "robust_dpo", {}),
    ("apo_zero", "apo_zero", {}),
    ("apo_down", "apo_down", {}),
]:
    library.loss(objective, f"LigerFusedLinearDPOLoss, loss_type='{loss_type}'", reduction="mean", **rest)(
        _dpo(loss_type)
    )
