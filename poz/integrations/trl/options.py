"""The options of TRL's own losses, in `DPOConfig` and `KTOConfig`, as objectives."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any

from transformers import TrainingArguments

from poz._nearest import meant
from poz.combination import combine
from poz.integrations.trl.seams import dpo_config, kto_config
from poz.integrations.trl.shared import check_config
from poz.objective import Objective
from poz.zoo import zoo

DPO: Mapping[str, Any] = {
    "loss_type": ["sigmoid"],
    "loss_weights": None,
    "beta": 0.1,
    "label_smoothing": 0.0,
    "f_divergence_type": "reverse_kl",
    "f_alpha_divergence_coef": 0.5,
    "discopop_tau": 0.05,
    "ld_alpha": None,
    "use_weighting": False,
}
"""The fields of DPOConfig that set the loss, with their defaults."""

KTO: Mapping[str, Any] = {"loss_type": "kto", "beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}
"""The same of KTOConfig."""

ELSEWHERE = (
    *("model_init_kwargs", "trust_remote_code", "router_aux_loss_coef", "disable_dropout", "dataset_num_proc"),
    *("max_length", "truncation_mode", "padding_free", "pad_to_multiple_of", "precompute_ref_log_probs"),
    *("precompute_ref_batch_size", "activation_offloading", "sync_ref_model", "ref_model_mixup_alpha"),
    *("ref_model_sync_steps", "pad_token"),
)
"""Their other fields beyond those of transformers: models, data, memory, which mean the same with any objective."""


def objective_of(config: Any) -> Objective:
    """The objective that has the loss and the gradient of TRL's own trainer under a configuration.

        objective_of(DPOConfig(loss_type="ipo", beta=0.3))  # poz.ipo.bind(tau=0.3, length_normalized=True)

    poz's trainers train it where they are given such options and no `objective`. A loss that ties a batch together is
    that of the whole batch here, of all processes and micro-batches, and in TRL that of each. In `sft`, a completion that
    begins at the first token of its row has that token in the mean, and not in TRL's.

    Args:
        config: `trl.DPOConfig` or `trl.KTOConfig`.

    Raises:
        TypeError: Another configuration.
        ValueError: No objective has that loss, an option is set that TRL's loss does not read, or one that poz does not know.
    """
    if isinstance(config, dpo_config.DPOConfig):
        return _of_dpo(config)
    if isinstance(config, kto_config.KTOConfig):
        return _of_kto(config)
    raise TypeError(f"objective_of reads a trl.DPOConfig or a trl.KTOConfig; got a {type(config).__name__}.")


def check_options(objective: Objective, config: Any) -> None:
    """Refuses options of TRL's own loss beside an objective.

    Raises:
        ValueError: One is set; says which objective has that loss.
    """
    known = DPO if isinstance(config, dpo_config.DPOConfig) else KTO
    options = _set(config, known)
    _check_read(config, known, options - known.keys())
    try:
        check_config(objective, config, known)
    except ValueError as error:
        if not options:
            raise
        try:
            theirs = (
                f"As they are set, TRL's own loss is {objective_of(config)!r}, trained where no objective is given."
            )
        except ValueError as reason:
            theirs = str(reason)
        raise ValueError(f"{error} {theirs}") from None


_ALWAYS = {"loss_type", "loss_weights"}
_MODIFIERS = {"f_divergence_type", "ld_alpha", "use_weighting"}
_BESIDE = {"f_divergence_type": {"sft"}, "ld_alpha": {"sft"}}
"""Losses that a modifier leaves as they are."""

_READ: Mapping[str, Collection[str]] = {
    "exo_pair": ("beta", "label_smoothing"),
    "robust": ("beta", "label_smoothing"),
    "aot": ("beta", "label_smoothing"),
    "aot_unpaired": ("beta", "label_smoothing"),
    "discopop": ("beta", "discopop_tau"),
    "sft": (),
}
"""What each of TRL's losses reads; beta where it is not here."""


def _plain(name: str) -> Callable[[Any], tuple[Objective, float]]:
    return lambda c: (zoo[name].bind(beta=c.beta), 1.0)


def _smoothed(name: str) -> Callable[[Any], tuple[Objective, float]]:
    return lambda c: (zoo[name].bind(beta=c.beta, label_smoothing=c.label_smoothing), 1.0)


_LOSSES: Mapping[str, Callable[[Any], tuple[Objective, float]]] = {
    **{name: _plain(name) for name in ("hinge", "apo_zero", "apo_down")},
    "sigmoid": lambda c: (_of_sigmoid(c), 1.0),
    "sigmoid_norm": _plain("ln_dpo"),
    "ipo": lambda c: (zoo["ipo"].bind(tau=c.beta, length_normalized=True), 1.0),
    "exo_pair": _smoothed("exo"),
    "robust": _smoothed("robust_dpo"),
    "aot": _smoothed("aot"),
    "aot_unpaired": _smoothed("aot_unpaired"),
    "discopop": lambda c: (zoo["discopop"].bind(beta=c.beta, tau=c.discopop_tau), 1.0),
    "nca_pair": lambda c: (zoo["nca"].bind(beta=c.beta, alpha=1e-3), 1.0),  # e^-1000 = 0: all is on chosen
    "bco_pair": lambda c: (zoo["bco"].bind(beta=c.beta), 2.0),  # a sum over both sides, not their mean
    "sppo_hard": lambda c: (
        zoo["sppo"].bind(eta=1 / c.beta if c.beta else math.inf),
        2.0,
    ),  # without the half of SPPO's sum
    "sft": lambda c: (zoo["sft"].bind(normalizer="batch_tokens"), 1.0),
}
"""The objective of each, and its weight."""


def _of_dpo(config: Any) -> Objective:
    kinds, options = config.loss_type, _set(config, DPO)
    if unknown := [kind for kind in kinds if kind not in _LOSSES]:
        raise ValueError(
            f"{_said(config, ['loss_type'])} has a loss that poz knows no objective for, {unknown[0]!r}; it knows "
            f"{', '.join(_LOSSES)}. Give the objective that you mean, or train with trl.DPOTrainer.{meant(unknown[0], _LOSSES)}"
        )
    read = set().union(*(_READ.get(kind, ("beta",)) for kind in kinds))
    if config.f_divergence_type == "alpha_divergence":
        read.add("f_alpha_divergence_coef")
    _check_read(config, DPO, options - _ALWAYS - _MODIFIERS - read)
    modifiers = options & _MODIFIERS
    if modifiers and (
        len(modifiers) > 1 or {*kinds} - {"sigmoid"} - set().union(*(_BESIDE.get(name, set()) for name in modifiers))
    ):
        raise ValueError(
            f"{_said(config, sorted({'loss_type', *modifiers}))} is no objective of poz, which has f-divergences (f_dpo), "
            "the lengths of LD-DPO (ld_dpo) and the weights of WPO (wpo) of DPO's own loss, 'sigmoid', one at a time. Give "
            "the objective that you mean, or train with trl.DPOTrainer."
        )
    weights = config.loss_weights or [1.0] * len(kinds)
    found = [(*_LOSSES[kind](config), weight) for kind, weight in zip(kinds, weights, strict=True)]
    parts = [(part, times * weight) for part, times, weight in found]
    return parts[0][0] if len(parts) == 1 and parts[0][1] == 1 else combine(parts)


def _of_sigmoid(config: Any) -> Objective:
    if config.ld_alpha is not None:
        return zoo["ld_dpo"].bind(beta=config.beta, alpha=config.ld_alpha)
    if config.use_weighting:
        return zoo["wpo"].bind(beta=config.beta, clamp=False)
    divergence, order = config.f_divergence_type, config.f_alpha_divergence_coef
    if divergence == "alpha_divergence" and order in (0, 1):  # the limits, one of which TRL takes too
        divergence = "forward_kl" if order == 0 else "reverse_kl"
    known: dict[str, Any] = {
        "reverse_kl": "reverse_kl",
        "forward_kl": "forward_kl",
        "js_divergence": "js",
        "alpha_divergence": "alpha",
    }
    if divergence not in known:
        raise ValueError(
            f"f_divergence_type={divergence!r} is no divergence of poz.f_dpo, which has {', '.join(known)}."
        )
    if divergence == "reverse_kl":
        return zoo["dpo"].bind(beta=config.beta)
    more = {"alpha": order, "convention": "trl"} if divergence == "alpha_divergence" else {}
    return zoo["f_dpo"].bind(beta=config.beta, divergence=known[divergence], **more)


def _of_kto(config: Any) -> Objective:
    options = _set(config, KTO)
    estimators: dict[str, Any] = {"kto": "mean", "apo_zero_unpaired": "zero"}
    if config.loss_type not in estimators:
        raise ValueError(
            f"{_said(config, ['loss_type'])} is a loss that poz knows no objective for; it knows {', '.join(estimators)}. Give "
            "the objective that you mean, or train with trl.KTOTrainer."
        )
    _check_read(config, KTO, options - KTO.keys())
    weights = {name: getattr(config, name) for name in ("desirable_weight", "undesirable_weight")}
    return zoo["kto"].bind(beta=config.beta, estimator=estimators[config.loss_type], **weights)


def _set(config: Any, known: Mapping[str, Any]) -> set[str]:
    """The names of options that differ from their defaults: those of the loss, and fields that poz does not know."""
    base = {field.name for field in fields(TrainingArguments)}
    kind = dpo_config.DPOConfig if known is DPO else kto_config.KTOConfig
    plain = {field.name: field for field in fields(kind) if field.name not in base | {*known, *ELSEWHERE}}
    given = {name for name, default in known.items() if getattr(config, name, default) != default}
    return given | {name for name, field in plain.items() if getattr(config, name) != field.default}


def _check_read(config: Any, known: Mapping[str, Any], left: set[str]) -> None:
    for name in sorted(left):
        if name not in known:
            raise ValueError(
                f"{_said(config, [name])} is an option that poz does not know, so it cannot say which objective it makes. "
                "Leave it at its default, or give the objective that you mean, or a newer poz."
            )
        raise ValueError(
            f"{_said(config, [name])} does nothing in TRL's own loss for loss_type={config.loss_type!r}. Leave it "
            f"{known[name]!r}, or give the objective that you mean, such as poz.dpo.bind(label_smoothing=0.1)."
        )


def _said(config: Any, names: Collection[str]) -> str:
    return f"{type(config).__name__}({', '.join(f'{name}={getattr(config, name)!r}' for name in names)})"
