"""ms-swift: the losses of its trainers on pairs, on a model that gives the log-probs of the batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from poz.families import Pairs, Ranked, TokenPairs, Unpaired
from poz.peers._library import Library
from poz.peers._spread import closed, stacked, with_lengths

library = Library("ms-swift", "ms-swift")
REFERENCE = {"constant": ("ref_chosen", "ref_rejected"), "reduction": "mean"}


def _model(logits: Any) -> Any:
    """A model that gives these logits; a class of its own, for ms-swift patches the class of a model."""

    class Model:
        def __call__(self, *_: Any, **__: Any) -> Any:
            return SimpleNamespace(logits=logits)

    return Model()


def _trainer(kind: str, **given: Any) -> Any:
    """A trainer as its __init__ leaves it, without what belongs to a process, a tokenizer or a dataset."""
    from swift import rlhf_trainers

    trainer = getattr(rlhf_trainers, kind).__new__(getattr(rlhf_trainers, kind))
    plain = {"use_logits_to_keep": False, "ld_alpha": None, "rpo_alpha": None, "discopop_tau": 0.05}
    arguments = SimpleNamespace(**plain | {name: given.pop(name) for name in plain if name in given})
    vars(trainer).update(
        args=arguments, template=SimpleNamespace(sequence_parallel_size=1, padding_free=False),
        accelerator=SimpleNamespace(device="cpu", gather_for_metrics=lambda x: x), is_encoder_decoder=False,
        aux_loss_enabled=False, label_pad_token_id=-100, pad_token_id=0, padding_value=0, reference_free=False,
        _peft_has_been_casted_to_bf16=False, use_weighting=False, f_divergence_type="reverse_kl", loss_weights=None,
        loss_type="sigmoid", beta=0.1, label_smoothing=0.0,
    )  # fmt: skip
    vars(trainer).update(given)
    return trainer


def _of(trainer: Any, pairs: Pairs | TokenPairs, by: tuple[Any, Any]) -> Any:
    """Its loss of a batch of pairs, whose completions have these lengths or masks."""
    sides = [(pairs.chosen, by[0]), (pairs.rejected, by[1])]
    references = [(pairs.ref_chosen, by[0]), (pairs.ref_rejected, by[1])]
    if isinstance(pairs, TokenPairs):
        sides, references = ([closed(*side) for side in both] for both in (sides, references))
    logits, labels = stacked(*sides)
    if pairs.ref_chosen is not None:
        trainer.ref_model = _model(stacked(*references)[0])
    batch = {"input_ids": labels, "attention_mask": labels == labels, "labels": labels}
    return trainer.get_batch_loss_metrics(_model(logits), batch)[0]


def _pairs(kind: str, pairs: Pairs, **given: Any) -> Any:
    return _of(_trainer(kind, **given), pairs, (pairs.chosen_len, pairs.rejected_len))


def _plain(loss_type: str) -> Callable[..., Any]:
    return lambda pairs, *, beta=0.1: _pairs("DPOTrainer", pairs, loss_type=loss_type, beta=beta)


def _smoothed(loss_type: str) -> Callable[..., Any]:
    return lambda pairs, *, beta=0.1, label_smoothing=0.0: _pairs(
        "DPOTrainer", pairs, loss_type=loss_type, beta=beta, label_smoothing=label_smoothing
    )


for loss_type, objective, call, rest in [
    ("sigmoid", "dpo", _smoothed, {"topic": "dpo_smoothing"}),
    ("robust", "robust_dpo", _smoothed, {}),
    ("exo_pair", "exo", _smoothed, {"topic": "exo_zero"}),
    ("aot", "aot", _smoothed, {"topic": "aot_names"}),
    ("aot_unpaired", "aot_unpaired", _smoothed, {"topic": "aot_names"}),
    ("hinge", "hinge", _plain, {}),
    ("apo_zero", "apo_zero", _plain, {}),
    ("apo_down", "apo_down", _plain, {}),
]:
    library.loss(objective, f"DPOTrainer, loss_type='{loss_type}'", **REFERENCE, **rest)(
        functools.partial(call, loss_type)
    )


@library.loss(
    "ipo", "DPOTrainer, loss_type='ipo'", does="means per token, of policy and reference", topic="ipo_sum_or_mean",
    settings={"length_normalized": True}, **REFERENCE,
)  # fmt: skip
def _ipo() -> Callable[..., Any]:
    return lambda pairs, *, tau=0.1: _pairs("DPOTrainer", with_lengths(pairs), loss_type="ipo", beta=tau)


@library.loss(
    "apo_down", "DPOTrainer, loss_type='apo_down', f_divergence_type='js_divergence'", topic="f_dpo_apo_down",
    given="the divergence, which it leaves to the other losses", **REFERENCE,
)  # fmt: skip
def _apo_down() -> Callable[..., Any]:
    return lambda pairs, *, beta=0.1: _pairs(
        "DPOTrainer", pairs, loss_type="apo_down", beta=beta, f_divergence_type="js_divergence"
    )


@library.loss("discopop", "DPOTrainer, loss_type='discopop'", topic="discopop_tau", **REFERENCE)
def _discopop() -> Callable[..., Any]:
    return lambda pairs, *, beta=0.05, tau=0.05: _pairs(
        "DPOTrainer", pairs, loss_type="discopop", beta=beta, discopop_tau=tau
    )


for name, divergence, rest in [
    ("reverse_kl", "reverse_kl", {}),
    ("js_divergence", "js", {}),
    ("alpha_divergence", "alpha", {"does": "α as in the paper; exponents are capped", "topic": "f_dpo_alpha"}),
    ("forward_kl", "reverse_kl", {}),
]:

    def _f_dpo(name: str) -> Callable[..., Any]:
        return lambda pairs, *, beta=0.1, alpha=0.5: _pairs(
            "DPOTrainer", pairs, beta=beta, f_divergence_type=name, f_divergence_params={"alpha_divergence_coef": alpha}
        )

    library.loss(
        "f_dpo", f"DPOTrainer, f_divergence_type='{name}'", **REFERENCE,
        settings={} if divergence == "reverse_kl" else {"divergence": divergence}, **rest,
    )(functools.partial(_f_dpo, name))  # fmt: skip


@library.loss(
    "ld_dpo", "DPOTrainer, ld_alpha", topic="ld_dpo_reference", does="sums the reference's tokens unweighted",
    settings={"reference": "summed"}, given="the tokens of a completion stand side by side", **REFERENCE,
)  # fmt: skip
def _ld_dpo() -> Callable[..., Any]:
    return lambda pairs, *, beta=0.1, alpha=0.5: _of(
        _trainer("DPOTrainer", beta=beta, ld_alpha=alpha), pairs, (pairs.chosen_mask, pairs.rejected_mask)
    )


def _nll(with_it: dict[str, Any], without: dict[str, Any]) -> Callable[..., Any]:
    """The loss with the NLL of chosen less that without it, of pairs of a completion with itself under its own policy."""

    def call(pairs: Pairs) -> Any:
        same, lengths = pairs.chosen.detach(), with_lengths(pairs).chosen_len
        whole = Pairs(pairs.chosen, same, same, same, lengths, lengths)
        return _pairs("DPOTrainer", whole, **with_it) - _pairs("DPOTrainer", whole, **without)

    return call


@library.loss(
    "sft", "DPOTrainer, rpo_alpha", reduction="mean", topic="nll_normalizer", settings={"normalizer": "batch_tokens"},
    does="the mean over all chosen tokens of the batch, added to each pair", given="the loss with rpo_alpha=1 less that without",
)  # fmt: skip
def _rpo_alpha() -> Callable[..., Any]:
    return _nll({"rpo_alpha": 1.0}, {})


@library.loss(
    "sft", "DPOTrainer, loss_type='sft'", reduction="mean", topic="nll_normalizer", settings={"normalizer": "batch_tokens"},
    does="the mean over all chosen tokens of the batch", given="the loss of 'sft' and 'sigmoid' less that of 'sigmoid'",
)  # fmt: skip
def _sft() -> Callable[..., Any]:
    return _nll({"loss_type": ["sft", "sigmoid"]}, {})


@library.loss(
    "cpo", "CPOTrainer, loss_type='sigmoid'", reduction="mean", topic="nll_normalizer", settings={"nll": "batch_tokens"},
    does="the NLL is the mean over all chosen tokens of the batch",
)  # fmt: skip
def _cpo() -> Callable[..., Any]:
    return lambda pairs, *, beta=0.1, nll_weight=1.0, label_smoothing=0.0: _pairs(
        "CPOTrainer", pairs, beta=beta, cpo_alpha=nll_weight, label_smoothing=label_smoothing, alpha=0.0
    )


@library.loss(
    "simpo", "CPOTrainer, loss_type='simpo', cpo_alpha=0", reduction="mean", topic="simpo_smoothing",
)  # fmt: skip
def _simpo() -> Callable[..., Any]:
    def call(pairs: Pairs, *, beta: float = 2.0, gamma: float | None = None, label_smoothing: float = 0.0) -> Any:
        margin = 0.25 * beta if gamma is None else gamma  # poz's default
        return _pairs(
            "CPOTrainer", pairs, loss_type="simpo", beta=beta, simpo_gamma=margin, label_smoothing=label_smoothing,
            cpo_alpha=0.0, alpha=0.0,
        )  # fmt: skip

    return call


@library.loss("alpha_po", "CPOTrainer, loss_type='simpo', cpo_alpha=0, alpha", reduction="mean")
def _alpha_po() -> Callable[..., Any]:
    return lambda pairs, *, beta=2.5, alpha=0.25, gamma=0.1: _pairs(
        "CPOTrainer", pairs, loss_type="simpo", beta=beta, simpo_gamma=gamma, cpo_alpha=0.0, alpha=alpha
    )


@library.loss(
    "orpo", "ORPOTrainer", reduction="mean", topic="orpo_nll", settings={"nll": "batch_tokens"},
    does="the NLL is the mean over all tokens of the chosen responses of the batch",
)  # fmt: skip
def _orpo() -> Callable[..., Any]:
    return lambda pairs, *, odds_weight=0.1: _pairs("ORPOTrainer", pairs, beta=odds_weight)


@library.loss(
    "kto", "KTOTrainer.kto_loss", topic="kto_weights", constant=("ref_logps",),
    given="`weights` of examples are put to its losses, one for each example",
)  # fmt: skip
def _kto() -> Callable[..., Any]:
    import torch

    def call(
        rows: Unpaired, *, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0
    ) -> Any:
        good = rows.desirable
        trainer = _trainer(
            "KTOTrainer", loss_type="kto", calculate_KL=True, beta=beta, desirable_weight=desirable_weight,
            undesirable_weight=undesirable_weight,
        )  # fmt: skip
        losses, *_ = trainer.kto_loss(
            rows.logps[good], rows.logps[~good], rows.kl_logps, rows.ref_logps[good], rows.ref_logps[~good], rows.kl_ref_logps
        )  # fmt: skip
        losses = losses[torch.argsort(torch.cat([torch.where(good)[0], torch.where(~good)[0]]))]
        return losses if rows.weights is None else losses * rows.weights

    return call


@library.loss(
    "s_dpo", "ListwiseRerankerLoss", reduction="mean", constant=("ref_logps",),
    given="a score is a log-ratio, β is 1 over its temperature, and LISTWISE_RERANKER_MIN_GROUP_SIZE=1",
)  # fmt: skip
def _reranker() -> Callable[..., Any]:
    import torch
    from swift.loss.reranker import ListwiseRerankerLoss

    def call(lists: Ranked, *, beta: float = 1.0) -> Any:
        scores = lists.logps - lists.ref_logps
        kept = torch.ones_like(scores, dtype=torch.bool) if lists.mask is None else lists.mask
        first = torch.zeros_like(scores).index_fill(1, torch.tensor([0]), 1.0)
        asked = {"LISTWISE_RERANKER_TEMPERATURE": repr(1 / beta), "LISTWISE_RERANKER_MIN_GROUP_SIZE": "1"}
        with patch.dict("os.environ", asked):
            return ListwiseRerankerLoss(None, None)(SimpleNamespace(logits=scores[kept][:, None]), first[kept])

    return call
