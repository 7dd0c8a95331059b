"""TRL's experimental CPOTrainer, ORPOTrainer and TPOTrainer, whole, from logits on: the mean over the batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs, Ranked
from poz.peers._library import Library
from poz.peers._spread import stacked, with_lengths
from poz.peers._trl import trainer

library = Library("TRL", "trl", since="1.14")


def _inputs(labels: Any) -> dict[str, Any]:
    """Rows of a prompt of one token and a completion, every token of the first word."""
    import torch

    completion = (labels == 0).long()
    there = torch.cat([torch.ones_like(completion[:, :1]), completion[:, 1:]], 1)
    return {"input_ids": 0 * labels, "attention_mask": there, "labels": labels, "completion_mask": completion}


def _without_reference(trl: Any, pairs: Pairs, **attributes: Any) -> Any:
    """By `get_batch_loss_metrics`, of rows that are concatenated."""
    logits, labels = stacked((pairs.chosen, pairs.chosen_len), (pairs.rejected, pairs.rejected_len))
    rows = {f"concatenated_{name}": x for name, x in _inputs(labels).items()}
    this = trainer(
        is_encoder_decoder=False, pad_token_id=0, padding_value=0, concatenated_inputs=lambda *_, **__: rows,
        get_batch_logps=trl.get_batch_logps, **attributes,
    )  # fmt: skip
    for name in ("concatenated_forward", "cpo_loss", "odds_ratio_loss"):
        if hasattr(trl, name):
            setattr(this, name, functools.partial(getattr(trl, name), this))
    batch = {"chosen_labels": pairs.chosen}
    return trl.get_batch_loss_metrics(this, lambda *_, **__: SimpleNamespace(logits=logits), batch)[0]


def _cpo(pairs: Pairs, loss_type: str, beta: float, **attributes: Any) -> Any:
    from trl.experimental.cpo import CPOTrainer

    plain = {"cpo_alpha": 0.0, "simpo_gamma": 0.5, "label_smoothing": 0.0, "alpha": 0.0}
    return _without_reference(CPOTrainer, pairs, loss_type=loss_type, beta=beta, **plain | attributes)


@library.loss(
    "cpo", "CPOTrainer, loss_type='sigmoid'", does="NLL is the mean over all chosen tokens of the batch",
    settings={"nll": "batch_tokens"}, topic="nll_normalizer", reduction="mean",
)  # fmt: skip
def cpo() -> Callable[..., Any]:
    def call(pairs: Pairs, *, beta: float = 0.1, nll_weight: float = 1.0, label_smoothing: float = 0.0) -> Any:
        return _cpo(pairs, "sigmoid", beta, cpo_alpha=nll_weight, label_smoothing=label_smoothing)

    return call


def _gamma(beta: float, gamma: float | None, gamma_beta_ratio: float | None) -> float:
    return beta * (0.25 if gamma_beta_ratio is None else gamma_beta_ratio) if gamma is None else gamma


@library.loss("simpo", "CPOTrainer, loss_type='simpo', cpo_alpha=0", topic="simpo_smoothing", reduction="mean")
def simpo() -> Callable[..., Any]:
    def call(
        pairs: Pairs, *, beta: float = 2.0, gamma: float | None = None, gamma_beta_ratio: float | None = None,
        label_smoothing: float = 0.0,
    ) -> Any:  # fmt: skip
        margin = _gamma(beta, gamma, gamma_beta_ratio)
        return _cpo(pairs, "simpo", beta, simpo_gamma=margin, label_smoothing=label_smoothing)

    return call


@library.loss(
    "simpo", "CPOTrainer, loss_type='simpo'", topic="simpo_nll", reduction="mean",
    does="adds the mean NLL over all chosen tokens of the batch, cpo_alpha=1",
)  # fmt: skip
def cpo_simpo() -> Callable[..., Any]:
    def call(
        pairs: Pairs, *, beta: float = 2.0, gamma: float | None = None, gamma_beta_ratio: float | None = None
    ) -> Any:
        from trl.experimental.cpo import CPOConfig

        return _cpo(
            pairs, "simpo", beta, simpo_gamma=_gamma(beta, gamma, gamma_beta_ratio), cpo_alpha=CPOConfig.cpo_alpha
        )

    return call


@library.loss("alpha_po", "CPOTrainer, loss_type='simpo', alpha, cpo_alpha=0", reduction="mean")
def alpha_po() -> Callable[..., Any]:
    def call(pairs: Pairs, *, beta: float = 2.5, alpha: float = 0.25, gamma: float = 0.1) -> Any:
        return _cpo(pairs, "simpo", beta, simpo_gamma=gamma, alpha=alpha)

    return call


def _cpo_loss(pairs: Pairs, loss_type: str, beta: float, means: bool = False) -> Any:
    """Its formula alone, on log-ratios or their means: CPO has no reference, which the objectives have."""
    from trl.experimental.cpo import CPOTrainer

    this: Any = SimpleNamespace(
        loss_type=loss_type, beta=beta, alpha=0.0, label_smoothing=0.0, accelerator=SimpleNamespace(device="cpu")
    )
    chosen, rejected = pairs.chosen - pairs.ref_chosen, pairs.rejected - pairs.ref_rejected
    if means:
        chosen, rejected = chosen / pairs.chosen_len.clamp(min=1), rejected / pairs.rejected_len.clamp(min=1)
    return CPOTrainer.cpo_loss(this, chosen, rejected)[0]


@library.loss("hinge", "CPOTrainer.cpo_loss, loss_type='hinge'", given="log-ratios for log-probs")
def hinge() -> Callable[..., Any]:
    return lambda pairs, *, beta=0.1: _cpo_loss(pairs, "hinge", beta)


@library.loss(
    "ipo", "CPOTrainer.cpo_loss, loss_type='ipo'", does="means per token", settings={"length_normalized": True},
    given="means of log-ratios for the means of log-probs that its forward pass takes", topic="ipo_sum_or_mean",
)  # fmt: skip
def ipo() -> Callable[..., Any]:
    return lambda pairs, *, tau=0.1: _cpo_loss(with_lengths(pairs), "ipo", tau, means=True)


@library.loss(
    "orpo", "ORPOTrainer, beta=λ", does="NLL is the mean over all tokens of the batch, and of the prompt's too",
    settings={"nll": "batch_tokens"}, given="prompts of one token", topic="orpo_log_probs",
    reduction="mean",
)  # fmt: skip
def orpo() -> Callable[..., Any]:
    def call(pairs: Pairs, *, odds_weight: float = 0.1) -> Any:
        from trl.experimental.orpo import ORPOTrainer

        return _without_reference(ORPOTrainer, pairs, beta=odds_weight)

    return call


def _tpo(lists: Ranked, loss_type: str, beta: float, nll_weight: float, gamma: float = 0.5) -> Any:
    from trl.experimental.tpo import TPOTrainer

    sides = (1, 2, 0) if nll_weight else (1, 2)  # chosen, rejected, gold
    lengths = [None if lists.lengths is None else lists.lengths[:, at] for at in sides]
    logits, labels = stacked(*zip((lists.logps[:, at] for at in sides), lengths, strict=True))
    this = trainer(loss_type=loss_type, beta=beta, tpo_alpha=nll_weight, tpo_l_gamma=gamma, label_smoothing=0.0)
    given = _inputs(labels)
    del given["labels"]
    return TPOTrainer._compute_loss(this, lambda **_: SimpleNamespace(logits=logits), given, False)


@library.loss(
    "tpo", "TPOTrainer, loss_type='sigmoid'", does="NLL is the mean over all gold tokens of the batch",
    settings={"nll": "batch_tokens"}, reduction="mean",
)  # fmt: skip
def tpo() -> Callable[..., Any]:
    return lambda lists, *, beta=0.01, nll_weight=1.0: _tpo(lists, "sigmoid", beta, nll_weight)


@library.loss(
    "tpo", "TPOTrainer, loss_type='tpo-l'", does="TPO-L; NLL is the mean over all gold tokens of the batch",
    settings={"length_normalized": True, "nll": "batch_tokens"}, reduction="mean",
)  # fmt: skip
def tpo_l() -> Callable[..., Any]:
    def call(lists: Ranked, *, beta: float = 0.01, nll_weight: float = 1.0, gamma: float = 0.5) -> Any:
        return _tpo(lists, "tpo-l", beta, nll_weight, gamma)

    return call
