"""Unsloth: its own loss of GRPOTrainer, and its log-probs. Its other losses are TRL's, on log-probs of its own."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from typing import Any

from poz.families import Rollouts
from poz.peers._library import Library, taking

library = Library("Unsloth", "unsloth")
NAMES = {
    "epsilon_low": "epsilon_low", "epsilon_high": "epsilon_high", "ratio_cap": "delta", "length": "max_completion_length",
    "kl_weight": "beta", "tau_positive": "sapo_temperature_pos", "tau_negative": "sapo_temperature_neg",
    "correction_low": "vllm_importance_sampling_clip_min", "correction_high": "vllm_importance_sampling_clip_max",
}  # fmt: skip


def _module() -> Any:
    os.environ.setdefault(
        "UNSLOTH_COMPILE_DISABLE", "1"
    )  # minutes of a compiler, for the same numbers but for rounding
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", f"{tempfile.gettempdir()}/unsloth_compiled_cache")  # not here
    import unsloth  # noqa: F401 - which has to be first
    from unsloth_zoo import rl_replacements

    return rl_replacements


def _loss(rollouts: Rollouts, *, beta: float = 0.0, **given: Any) -> Any:
    import torch

    logps, shape = rollouts.logps, rollouts.logps.shape
    mask = torch.ones(shape, dtype=torch.bool) if rollouts.mask is None else rollouts.mask
    held = rollouts.ref_logps, rollouts.old_logps, rollouts.sampler_logps
    ref, old, sampler = (None if x is None else x.detach() for x in held)
    if "vllm_importance_sampling_mode" in given:
        old = logps.detach() if old is None else old
        given |= {"use_vllm": True, "vllm_importance_sampling_correction": True}
    ids = torch.zeros(shape, dtype=torch.long)
    return _module().grpo_compute_loss(
        ref, logps, old, sampler, ids, mask, beta, rollouts.advantages, num_items_in_batch=mask.sum(), **given
    )[0]


def _taking(names: list[str], **given: Any) -> Callable[..., Any]:
    """A loss that takes these hyper-parameters of poz."""

    def call(rollouts: Rollouts, **values: Any) -> Any:
        return _loss(rollouts, **given, **{NAMES[name]: value for name, value in values.items()})

    return taking(call, names)


CLIP, KL = ["epsilon_low", "epsilon_high"], ["kl_weight"]
LOSSES: list[tuple[str, list[str], dict[str, Any], dict[str, Any]]] = [
    ("grpo", CLIP + KL, {"loss_type": "grpo"}, {"topic": "kl_estimator"}),
    ("grpo", CLIP + KL, {"loss_type": "grpo", "use_bias_correction_kl": True},
     {"settings": {"kl": "r*k3"}, "does": "multiplies the KL by the ratio", "topic": "kl_estimator"}),
    ("dapo", CLIP + KL, {"loss_type": "dapo"}, {}),
    ("ppo_clip", CLIP + KL, {"loss_type": "bnpo"}, {}),
    ("ppo_clip", [*CLIP, *KL, "ratio_cap"], {"loss_type": "bnpo"},
     {"does": "caps the ratio at delta in one of its terms alone, so that 1 + ε_high passes where it is more"}),
    ("dr_grpo", [*CLIP, *KL, "length"], {"loss_type": "dr_grpo"}, {"topic": "dr_grpo_length"}),
    ("sapo", ["tau_positive", "tau_negative", *KL], {"loss_type": "sapo"}, {}),
    ("gspo", CLIP + KL, {"loss_type": "grpo", "importance_sampling_level": "sequence"}, {}),
]  # fmt: skip
for objective, names, given, rest in LOSSES:
    said = ", ".join(f"{name}={value!r}" for name, value in given.items())
    said += ", delta" if "ratio_cap" in names else ""
    library.loss(objective, f"grpo_compute_loss, {said}", reduction="mean", **rest)(
        functools.partial(_taking, names, **given)
    )

for mode in ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"):
    does = "has the exponential of the mean log-ratio as the weight" if mode == "geometric_mask" else ""
    library.loss(
        "dapo", f"grpo_compute_loss, loss_type='dapo', vllm_importance_sampling_mode='{mode}'", reduction="mean", does=does,
        settings={"correction": mode}, topic="sequence_mask" if mode.endswith("e_mask") else "",
    )(
        functools.partial(
            _taking, [*CLIP, "correction_low", "correction_high"], loss_type="dapo", vllm_importance_sampling_mode=mode
        )
    )  # fmt: skip


@library.loss(
    "cispo", "grpo_compute_loss, loss_type='cispo'", reduction="mean", topic="cispo_cap",
    given="an epsilon_high that is one more, for it is the cap of the weight itself",
)  # fmt: skip
def _cispo() -> Callable[..., Any]:
    return lambda rollouts, *, epsilon_high=0.28: _loss(rollouts, loss_type="cispo", epsilon_high=1 + epsilon_high)


@library.log_probs("chunked_selective_log_softmax", logits=True)
def _of_logits() -> Callable[..., Any]:
    function = _module().chunked_selective_log_softmax
    return lambda logits, targets: function(logits[None], targets[None])[0]


@library.log_probs("chunked_hidden_states_selective_log_softmax", softcap=True)
def _of_hidden() -> Callable[..., Any]:
    function = _module().chunked_hidden_states_selective_log_softmax
    return lambda hidden, weight, targets, softcap: function(
        hidden[None], weight, targets[None], logit_softcapping=softcap or 0.0
    )[0]
