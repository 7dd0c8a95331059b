"""Axolotl: the losses that are its own and not TRL's, ORPO in its AxolotlTrainer and those of AsyncGRPOTrainer."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Rollouts
from poz.peers._library import Library, taking

library = Library("Axolotl", "axolotl")
NAMES = {
    "epsilon_low": "epsilon_low", "epsilon_high": "epsilon_high", "ratio_cap": "delta", "kl_weight": "beta",
    "length": "max_completion_length", "off_policy_limit": "off_policy_mask_threshold",
    "tau_positive": "sapo_temperature_pos", "tau_negative": "sapo_temperature_neg",
}  # fmt: skip


def _loss(rollouts: Rollouts, **given: Any) -> Any:
    import torch
    from axolotl.core.trainers.grpo.async_trainer import AsyncGRPOTrainer

    logps = rollouts.logps
    mask = torch.ones_like(logps, dtype=torch.bool) if rollouts.mask is None else rollouts.mask
    ids, trainer = torch.zeros(logps.shape, dtype=torch.long), AsyncGRPOTrainer.__new__(AsyncGRPOTrainer)
    plain = {"delta": None, "beta": 0.0, "importance_sampling_level": "token", "off_policy_mask_threshold": None}
    vars(trainer).update(
        plain | given, model=SimpleNamespace(training=False), aux_loss_enabled=False, use_vllm=False,
        top_entropy_quantile=1.0, args=SimpleNamespace(**plain | given), _metrics={"eval": collections.defaultdict(list)},
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x),
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, torch.zeros_like(logps), None),
    )  # fmt: skip
    batch = {
        "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1], "completion_ids": ids, "completion_mask": mask.long(),
        "advantages": rollouts.advantages, "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    held = {
        "old_per_token_logps": rollouts.old_logps, "ref_per_token_logps": rollouts.ref_logps,
        "sampling_per_token_logps": rollouts.sampler_logps,
    }  # fmt: skip
    return trainer._compute_loss(trainer.model, batch | {n: x.detach() for n, x in held.items() if x is not None})


def _taking(names: list[str], **given: Any) -> Callable[..., Any]:
    """A loss that takes these hyper-parameters of poz."""

    def call(rollouts: Rollouts, **values: Any) -> Any:
        return _loss(rollouts, **given, **{NAMES[name]: value for name, value in values.items()})

    return taking(call, names)


CLIP, KL = ["epsilon_low", "epsilon_high"], ["kl_weight", "off_policy_limit"]
for objective, names, given in [
    ("grpo", CLIP + KL, {"loss_type": "grpo"}),
    ("dapo", CLIP + KL, {"loss_type": "dapo"}),
    ("ppo_clip", CLIP + KL, {"loss_type": "bnpo"}),
    ("dr_grpo", [*CLIP, *KL, "length"], {"loss_type": "dr_grpo"}),
    ("sapo", ["tau_positive", "tau_negative", *KL], {"loss_type": "sapo"}),
    ("gspo", CLIP + KL, {"loss_type": "grpo", "importance_sampling_level": "sequence"}),
]:
    said = ", ".join(f"{name}='{value}'" for name, value in given.items())
    library.loss(objective, f"AsyncGRPOTrainer, {said}", reduction="mean")(functools.partial(_taking, names, **given))

library.loss(
    "ppo_clip", "AsyncGRPOTrainer, loss_type='bnpo', delta", reduction="mean",
    does="caps the ratio at δ in one of its terms alone, so that 1 + ε_high passes where it is more",
)(functools.partial(_taking, [*CLIP, *KL, "ratio_cap"], loss_type="bnpo"))  # fmt: skip


@library.loss(
    "cispo", "AsyncGRPOTrainer, loss_type='cispo'", reduction="mean", topic="cispo_cap",
    given="an epsilon_high that is one more, for it is the cap of the weight itself",
)  # fmt: skip
def _cispo() -> Callable[..., Any]:
    return lambda rollouts, *, epsilon_high=0.28: _loss(rollouts, loss_type="cispo", epsilon_high=1 + epsilon_high)


@library.fact(
    "ORPO by orpo_alpha of AxolotlTrainer has the NLL of prompt, response and padding, and counts a padding token in the odds: "
    "a longer row in the batch changes it. (`rl: orpo` trains TRL's ORPOTrainer.)",
    objective="orpo", topic="orpo_nll", gives=[1.0, 0.640625],
)  # fmt: skip
def orpo_of_padding() -> Any:
    import torch
    from axolotl.core.trainers.base import AxolotlTrainer

    trainer = SimpleNamespace(
        tokenizer=SimpleNamespace(pad_token_id=0), accelerator=SimpleNamespace(device="cpu"),
        args=SimpleNamespace(orpo_alpha=0.0), loss_fct=torch.nn.CrossEntropyLoss(reduction="none"),
        _maybe_inject_mm_token_type_ids=id, store_metrics=lambda *_, **__: None,
    )  # fmt: skip
    trainer.orpo_compute_custom_loss = functools.partial(AxolotlTrainer.orpo_compute_custom_loss, trainer)
    trainer.orpo_compute_logps = functools.partial(AxolotlTrainer.orpo_compute_logps, trainer)
    # One word of prompt, one of response (both 1), then padding (0): log-probs of -1 of a 1, and -0.4587 of a 0.
    model = lambda input_ids, **_: SimpleNamespace(logits=torch.tensor([-0.4586751, -1.0]).expand(*input_ids.shape, 2))  # noqa: E731
    found = []
    for padding in (0, 2):
        ids = torch.tensor([[1, 1] + [0] * padding])
        there = {"attention_mask": ids, "rejected_attention_mask": ids, "prompt_attention_mask": torch.tensor([[1]])}
        rows = {"input_ids": ids, "rejected_ids": ids, "labels": ids, "rejected_labels": ids, **there}
        found.append(AxolotlTrainer.orpo_compute_loss(trainer, model, rows).item())
    return found
