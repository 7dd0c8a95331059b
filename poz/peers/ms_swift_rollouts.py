"""ms-swift: the losses of GRPOTrainer on rollouts, which give one number for a batch, and its advantages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Rollouts
from poz.peers._library import Library, taking

library = Library("ms-swift", "ms-swift")
NAMES = {
    "epsilon_low": "epsilon", "epsilon_high": "epsilon_high", "ratio_cap": "delta", "tau_positive": "tau_pos",
    "tau_negative": "tau_neg", "length": "max_completion_length", "kl_weight": "beta",
    "off_policy_limit": "off_policy_sequence_mask_delta", "correction_high": "rollout_importance_sampling_threshold",
}  # fmt: skip


def _trainer(**given: Any) -> Any:
    """A trainer with the settings of its arguments, as `_prepare_algorithm_params` reads them."""
    from dataclasses import MISSING, fields

    from swift.rlhf_trainers.args_mixin import GRPOArgumentsMixin
    from swift.rlhf_trainers.grpo_trainer import GRPOTrainer

    trainer = GRPOTrainer.__new__(GRPOTrainer)
    plain = {one.name: None if one.default is MISSING else one.default for one in fields(GRPOArgumentsMixin)}
    plain |= {"loss_type": "grpo", "num_iterations": 1, "dataset_shuffle": False, "delta": None, "beta": 0.0}
    trainer.args = SimpleNamespace(**plain | {"gradient_accumulation_steps": 1, "max_completion_length": 512} | given)
    trainer._prepare_algorithm_params()
    vars(trainer).update(
        beta=trainer.args.beta, kl_in_reward=False, max_completion_length=trainer.args.max_completion_length,
        log_rollout_offpolicy_metrics=False,
        model=SimpleNamespace(training=False), compute_entropy=False, _has_teacher=False, chord_sft_iterator=None,
        accelerator=SimpleNamespace(num_processes=1, gather_for_metrics=lambda x: x if x.ndim else x[None]),
        disable_rollout_importance_sampling=False,
    )  # fmt: skip
    return trainer


def _loss(trainer: Any, rollouts: Rollouts) -> Any:
    import torch

    logps = rollouts.logps
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logps, None)
    mask = torch.ones_like(logps, dtype=torch.bool) if rollouts.mask is None else rollouts.mask
    held = (rollouts.old_logps, rollouts.ref_logps, rollouts.sampler_logps)
    old, ref, sampler = (None if x is None else x.detach() for x in held)
    batch = SimpleNamespace(
        completion_mask=mask, truncated_mask=None, advantages=rollouts.advantages[:, None].expand_as(logps),
        old_per_token_logps=old, ref_per_token_logps=ref, rollout_per_token_logps=sampler,
        teacher_per_token_logps=None, num_items_in_batch=mask.sum(),
    )  # fmt: skip
    return trainer._compute_loss_and_metrics(trainer.model, {}, batch)[0]


def _taking(names: list[str], **given: Any) -> Callable[..., Any]:
    """A loss that takes these hyper-parameters of poz."""

    def call(rollouts: Rollouts, **values: Any) -> Any:
        return _loss(_trainer(**given, **{NAMES[name]: value for name, value in values.items()}), rollouts)

    return taking(call, names)


CLIP, KL = ["epsilon_low", "epsilon_high"], ["kl_weight"]
SEQUENCE, TOKEN = {"importance_sampling_level": "sequence"}, {"importance_sampling_level": "sequence_token"}
for objective, names, given, rest in [
    ("grpo", CLIP + KL, {"loss_type": "grpo"}, {"topic": "kl_estimator"}),
    ("dapo", CLIP + KL, {"loss_type": "dapo"}, {}),
    ("ppo_clip", CLIP + KL, {"loss_type": "bnpo"}, {}),
    ("dr_grpo", [*CLIP, *KL, "length"], {"loss_type": "dr_grpo"}, {"topic": "dr_grpo_length"}),
    ("sapo", ["tau_positive", "tau_negative", *KL], {"loss_type": "sapo"}, {}),
    ("gspo", CLIP + KL, SEQUENCE, {}),
    ("gspo_token", CLIP + KL, TOKEN, {}),
]:
    said = ", ".join(f"{name}='{value}'" for name, value in given.items())
    library.loss(objective, f"GRPOTrainer, {said}", reduction="mean", **rest)(
        functools.partial(_taking, names, **given)
    )

library.loss("dapo", "GRPOTrainer, loss_type='dapo', off_policy_sequence_mask_delta", reduction="mean")(
    functools.partial(_taking, [*CLIP, "off_policy_limit"], loss_type="dapo")
)
library.loss(
    "ppo_clip", "GRPOTrainer, loss_type='bnpo', delta", reduction="mean",
    does="caps the ratio at δ in one of its terms alone, so that 1 + ε_high passes where it is more",
)(functools.partial(_taking, [*CLIP, *KL, "ratio_cap"], loss_type="bnpo"))  # fmt: skip

MEAN = "goes by the mean log-ratio of a completion's tokens"
for mode, correction, does in [
    ("token_truncate", "token_truncate", ""),
    ("token_mask", "token_mask", ""),
    ("sequence_truncate", "sequence_truncate", f"{MEAN}, and has the exponential of it as the weight"),
    ("sequence_mask", "geometric_mask", f"{MEAN}, and keeps the weights of tokens"),
]:
    topic = "sequence_mask" if correction == "geometric_mask" else ""
    given = {"loss_type": "dapo", "rollout_importance_sampling_mode": mode}
    library.loss(
        "dapo", f"GRPOTrainer, loss_type='dapo', rollout_importance_sampling_mode='{mode}'", reduction="mean", does=does,
        settings={"correction": correction}, topic=topic,
    )(functools.partial(_taking, [*CLIP, "correction_high"], **given))  # fmt: skip


@library.loss(
    "cispo", "GRPOTrainer, loss_type='cispo'", reduction="mean", topic="cispo_cap",
    does="epsilon_high is the cap of the weight itself", given="an epsilon_high that is one more",
)  # fmt: skip
def _cispo() -> Callable[..., Any]:
    return lambda rollouts, *, epsilon_high=0.28: _loss(
        _trainer(loss_type="cispo", epsilon_high=1 + epsilon_high), rollouts
    )


@library.fact(
    "Rewards of a group less their mean, over their standard deviation (of n - 1) and 1e-4; RLOO's is not divided.",
    topic="group_advantage", gives=[[-1.161805, 1.161805], [-2.0, 2.0]],
)  # fmt: skip
def group_advantage() -> Any:
    import torch
    from swift.rl_core.advantage import compute_advantages

    rewards, one = torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.ones(1)
    ends = []
    for estimator, scale in (("grpo", "group"), ("rloo", "none")):
        found, _ = compute_advantages(rewards, one, 4, estimator, scale)
        ends.append(found[[0, 3]].tolist())
    return ends


@library.fact(
    "CISPO's weight is at most epsilon_high itself, 0.2 where nothing is set.",
    objective="cispo",
    topic="cispo_cap",
    gives=0.2,
)
def cispo_cap() -> Any:
    from dataclasses import fields

    from swift.rlhf_trainers.args_mixin import GRPOArgumentsMixin
    from swift.rlhf_trainers.grpo_trainer import GRPOTrainer

    plain = {one.name: one.default for one in fields(GRPOArgumentsMixin)}
    plain |= {"loss_type": "cispo", "num_iterations": 1, "dataset_shuffle": False}
    trainer = SimpleNamespace(args=SimpleNamespace(**plain))
    GRPOTrainer._prepare_algorithm_params(trainer)
    return trainer.epsilon_high
