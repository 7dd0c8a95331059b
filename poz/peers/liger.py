"""Liger-Kernel: the preference losses of `liger_kernel.chunked_loss`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poz.families import Pairs, Unpaired
from poz.peers._library import Library
from poz.peers._spread import stacked

library = Library("Liger", "liger-kernel")
FINITE = "log-probs as logits of a head of two tokens, so finite ones"


def _dpo(loss_type: str) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        import torch
        from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction

        def call(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0, tau: float = 0.05) -> Any:
            target = torch.empty(2 * len(pairs.chosen), 1)  # of which it counts the rows
            return LigerFusedLinearDPOFunction.preference_loss_fn(
                pairs.chosen, pairs.rejected, target, pairs.ref_chosen, pairs.ref_rejected, beta=beta,
                loss_type=loss_type, label_smoothing=label_smoothing, discopop_tau=tau,
            )[0]  # fmt: skip

        return call

    return make


TABLE: list[tuple[str, str, dict[str, Any]]] = [
    (
        "sigmoid",
        "dpo",
        {"does": "ignores label_smoothing", "settings": {"label_smoothing": 0.0}, "topic": "dpo_smoothing"},
    ),
    ("hinge", "hinge", {"topic": "hinge_kink"}),
    ("exo_pair", "exo", {}),
    ("robust", "robust_dpo", {}),
    ("apo_zero", "apo_zero", {}),
    ("apo_down", "apo_down", {}),
    ("discopop", "discopop", {"topic": "discopop_tau"}),
]
for loss_type, objective, rest in TABLE:
    library.loss(objective, f"LigerFusedLinearDPOLoss, loss_type='{loss_type}'", reduction="mean", **rest)(
        _dpo(loss_type)
    )


@library.loss(
    "bco",
    "LigerFusedLinearDPOLoss, loss_type='bco_pair'",
    given="each completion in a pair whose other side costs nothing, times its weight",
    topic="bco_baseline",
)
def _bco_pair() -> Callable[..., Any]:
    import torch

    pair = _dpo("bco_pair")()

    def call(batch: Unpaired, *, beta: float = 0.1) -> Any:
        losses = []
        for good, own, ref in zip(batch.desirable, batch.logps[:, None], batch.ref_logps[:, None], strict=True):
            gone, zero = torch.full_like(own, -1e30 / beta), torch.zeros_like(own)
            sides = (own, gone, ref, zero) if good else (-gone, own, zero, ref)
            losses.append(pair(Pairs(*sides), beta=beta))
        return torch.stack(losses) * (1.0 if batch.weights is None else batch.weights)

    return call


@library.loss(
    "kto",
    "LigerFusedLinearKTOLoss",
    does="takes K from the caller, as it is, and has no weights of classes",
    settings={"estimator": "given"},
    given="K clamped at 0, and each completion alone, times its weight",
    topic="kto_weights",
)
def _kto() -> Callable[..., Any]:
    import torch
    from liger_kernel.chunked_loss.kto_loss import LigerFusedLinearKTOFunction

    def call(batch: Unpaired, *, beta: float = 0.1) -> Any:
        kl = batch.kl.clamp(min=0).to(batch.logps)
        rows = zip(*(x[:, None] for x in (batch.logps, batch.desirable, batch.ref_logps, kl)), strict=True)
        each = [
            LigerFusedLinearKTOFunction.preference_loss_fn(own, good, own, ref, beta=beta, kl=point)[0]
            for own, good, ref, point in rows
        ]
        return torch.stack(each) * (1.0 if batch.weights is None else batch.weights)

    return call


def _tokens(pairs: Pairs) -> tuple[Any, Any, Any]:
    """A head that leaves hidden states as they are, so that these are the logits of tokens, and targets."""
    import torch

    logits, labels = stacked((pairs.chosen, pairs.chosen_len), (pairs.rejected, pairs.rejected_len))
    return torch.eye(2, dtype=logits.dtype), logits[:, :-1], labels[:, 1:]


@library.loss(
    "cpo",
    "LigerFusedLinearCPOLoss",
    does="the NLL is the mean over all chosen tokens of the batch",
    settings={"nll": "batch_tokens"},
    given=FINITE,
    topic="nll_normalizer",
    reduction="mean",
)
def _cpo() -> Callable[..., Any]:
    from liger_kernel.chunked_loss import LigerFusedLinearCPOLoss

    def call(pairs: Pairs, *, beta: float = 0.1, nll_weight: float = 1.0, label_smoothing: float = 0.0) -> Any:
        made = LigerFusedLinearCPOLoss(
            beta=beta, alpha=nll_weight, label_smoothing=label_smoothing, compiled=False, chunk_size=len(pairs.chosen)
        )
        return made(*_tokens(pairs))[0]

    return call


@library.loss(
    "simpo",
    "LigerFusedLinearSimPOLoss, compute_nll_loss=False",
    given=FINITE,
    topic="simpo_smoothing",
    reduction="mean",
)
def _simpo() -> Callable[..., Any]:
    from liger_kernel.chunked_loss import LigerFusedLinearSimPOLoss

    def call(pairs: Pairs, *, beta: float = 2.0, gamma: float | None = None, label_smoothing: float = 0.0) -> Any:
        made = LigerFusedLinearSimPOLoss(
            beta=beta, gamma=beta * 0.25 if gamma is None else gamma, label_smoothing=label_smoothing,
            compute_nll_loss=False, compiled=False, chunk_size=len(pairs.chosen),
        )  # fmt: skip
        return made(*_tokens(pairs))[0]

    return call


@library.loss(
    "orpo",
    "LigerFusedLinearORPOLoss",
    does="the NLL is the mean over all chosen tokens of the batch",
    settings={"nll": "batch_tokens"},
    given=FINITE,
    topic="orpo_log_probs",
    reduction="mean",
)
def _orpo() -> Callable[..., Any]:
    from liger_kernel.chunked_loss import LigerFusedLinearORPOLoss

    def call(pairs: Pairs, *, odds_weight: float = 0.1) -> Any:
        made = LigerFusedLinearORPOLoss(beta=odds_weight, compiled=False, chunk_size=len(pairs.chosen))
        return made(*_tokens(pairs))[0]

    return call
