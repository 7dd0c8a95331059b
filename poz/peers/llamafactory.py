"""LLaMA-Factory: the losses of its trainers, which subclass those of TRL, on a model that gives the log-probs of the batch."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import tempfile
import types
from collections.abc import Callable
from typing import Any

from poz.families import Pairs, TokenPairs, Unpaired
from poz.peers._library import Library
from poz.peers._spread import closed, stacked, with_lengths

library = Library("LLaMA-Factory", "llamafactory")
REFERENCE = ("ref_chosen", "ref_rejected")


def without_sound() -> None:
    """An empty torchaudio where there is none: LLaMA-Factory imports it for sound alone."""
    if importlib.util.find_spec("torchaudio") is None:
        audio = sys.modules["torchaudio"] = types.ModuleType("torchaudio")
        audio.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)


def _model(logits: Any) -> Any:
    """A model that gives these logits, whatever it is asked."""
    import torch

    class Model(torch.nn.Module):
        config = types.SimpleNamespace(is_encoder_decoder=False)

        def forward(self, **_: Any) -> Any:
            return types.SimpleNamespace(logits=logits)

    return Model()


def _trainer(policy: Any, reference: Any, **given: Any) -> Any:
    without_sound()
    from llamafactory.hparams import FinetuningArguments
    from llamafactory.train.dpo.trainer import CustomDPOTrainer
    from transformers import TrainingArguments

    arguments = TrainingArguments(output_dir=tempfile.gettempdir(), use_cpu=True, report_to="none", disable_tqdm=True)
    return CustomDPOTrainer(
        _model(policy), _model(reference), FinetuningArguments(stage="dpo", **given), None, args=arguments,
        tokenizer=None, data_collator=list,
    )  # fmt: skip


def _pairs(pairs: Pairs, **given: Any) -> Any:
    """The loss of a batch of pairs, as `get_batch_loss_metrics` gives it."""
    lengths = pairs.chosen_len, pairs.rejected_len
    logits, labels = stacked((pairs.chosen, lengths[0]), (pairs.rejected, lengths[1]))
    reference = None
    if pairs.ref_chosen is not None:
        reference, _ = stacked((pairs.ref_chosen, lengths[0]), (pairs.ref_rejected, lengths[1]))
    trainer = _trainer(logits, reference, **given)
    return trainer.get_batch_loss_metrics(trainer.model, {"input_ids": labels, "labels": labels})[0]


def _of(pref_loss: str) -> Callable[[], Callable[..., Any]]:
    return lambda: lambda pairs, *, beta=0.1: _pairs(pairs, pref_loss=pref_loss, pref_beta=beta)


SIGMOID = "trains `sigmoid`, for it does not tell TRL 0.24 which loss is meant"
for objective, pref_loss, rest in [
    ("hinge", "hinge", {"does": SIGMOID}),
    ("dpo", "hinge", {}),
    ("dpo", "kto_pair", {"topic": "kto_in_dpo"}),
    ("ln_dpo", "ipo", {"topic": "ipo_sum_or_mean"}),
]:
    library.loss(objective, f"CustomDPOTrainer, pref_loss='{pref_loss}'", reduction="mean", constant=REFERENCE, **rest)(
        _of(pref_loss)
    )


@library.loss(
    "ipo", "CustomDPOTrainer, pref_loss='ipo'", reduction="mean", constant=REFERENCE,
    does="trains `sigmoid` on means per token, for it does not tell TRL 0.24 which loss is meant",
    settings={"length_normalized": True},
)  # fmt: skip
def _ipo() -> Callable[..., Any]:
    return lambda pairs, *, tau=0.1: _pairs(with_lengths(pairs), pref_loss="ipo", pref_beta=tau)


@library.loss(
    "dpo", "CustomDPOTrainer, pref_loss='sigmoid', dpo_label_smoothing", reduction="mean", constant=REFERENCE,
    topic="dpo_smoothing",
)  # fmt: skip
def _dpo() -> Callable[..., Any]:
    def call(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Any:
        return _pairs(pairs, pref_beta=beta, dpo_label_smoothing=label_smoothing)

    return call


@library.loss("orpo", "CustomDPOTrainer, pref_loss='orpo'", reduction="mean", topic="orpo_log_probs")
def _orpo() -> Callable[..., Any]:
    def call(pairs: Pairs, *, odds_weight: float = 0.1) -> Any:
        return _pairs(pairs, pref_loss="orpo", pref_beta=odds_weight)

    return call


@library.loss("simpo", "CustomDPOTrainer, pref_loss='simpo'", reduction="mean", topic="simpo_margin")
def _simpo() -> Callable[..., Any]:
    def call(pairs: Pairs, *, beta: float = 2.0, gamma: float | None = None) -> Any:
        margin = 0.25 * beta if gamma is None else gamma  # poz's default
        return _pairs(pairs, pref_loss="simpo", pref_beta=beta, simpo_gamma=margin)

    return call


@library.loss(
    "sft", "CustomDPOTrainer, pref_ftx", reduction="mean", topic="nll_normalizer", does="the mean of the means per completion",
    settings={"normalizer": "mean"}, given="the loss with pref_ftx=1 less that with 0",
)  # fmt: skip
def _sft() -> Callable[..., Any]:
    def call(pairs: Pairs) -> Any:
        same, lengths = pairs.chosen.detach(), with_lengths(pairs).chosen_len
        whole = Pairs(pairs.chosen, same, same, same, lengths, lengths)
        return _pairs(whole, pref_ftx=1.0) - _pairs(whole)

    return call


@library.loss(
    "ld_dpo", "CustomDPOTrainer, ld_alpha", reduction="mean", constant=REFERENCE, topic="ld_dpo_reference",
    does="sums the reference's tokens unweighted", settings={"reference": "summed"},
    given="the tokens of a completion stand side by side",
)  # fmt: skip
def _ld_dpo() -> Callable[..., Any]:
    def call(pairs: TokenPairs, *, beta: float = 0.1, alpha: float = 0.5) -> Any:
        masks = pairs.chosen_mask, pairs.rejected_mask
        logits, labels = stacked(closed(pairs.chosen, masks[0]), closed(pairs.rejected, masks[1]))
        reference, _ = stacked(closed(pairs.ref_chosen, masks[0]), closed(pairs.ref_rejected, masks[1]))
        trainer = _trainer(logits, reference, pref_beta=beta, ld_alpha=alpha)
        return trainer.get_batch_loss_metrics(trainer.model, {"input_ids": labels, "labels": labels})[0]

    return call


@library.loss(
    "kto", "CustomKTOTrainer.kto_loss", topic="kto_weights", constant=("ref_logps",),
    given="`weights` of examples are put to its losses, one for each example",
)  # fmt: skip
def _kto() -> Callable[..., Any]:
    without_sound()
    import torch
    from llamafactory.train.kto.trainer import CustomKTOTrainer

    accelerator = types.SimpleNamespace(device="cpu", gather_for_metrics=lambda x: x)

    def call(
        rows: Unpaired, *, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0
    ) -> Any:
        good = rows.desirable
        trainer = types.SimpleNamespace(
            calculate_KL=True, loss_type="kto", beta=beta, accelerator=accelerator,
            desirable_weight=desirable_weight, undesirable_weight=undesirable_weight,
        )  # fmt: skip
        losses, *_ = CustomKTOTrainer.kto_loss(
            trainer, rows.logps[good], rows.logps[~good], rows.kl_logps, rows.ref_logps[good], rows.ref_logps[~good],
            rows.kl_ref_logps,
        )  # fmt: skip
        losses = losses[torch.argsort(torch.cat([torch.where(good)[0], torch.where(~good)[0]]))]
        return losses if rows.weights is None else losses * rows.weights

    return call
