"""TRL's own GRPOTrainer with any objective of poz on completions that the policy wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from poz.combination import Combination, combine
from poz.counts import Counts
from poz.families import Rollouts, named
from poz.integrations.trl.accumulated import tied
from poz.integrations.trl.head import installed
from poz.integrations.trl.metrics import total
from poz.integrations.trl.modes import disable_dropout
from poz.integrations.trl.reference import policy_is_reference
from poz.integrations.trl.seams import Written, grpo_config, grpo_trainer
from poz.integrations.trl.shared import Headed, by_name, changed, check_config, check_constant, folder, name_after
from poz.objective import Objective
from poz.torch.head.probe import evaluating
from poz.torch.scored import parts, spec_of
from poz.torch.whole_batch import whole_batch
from poz.zoo import zoo

Base: Any = grpo_trainer.GRPOTrainer


class GRPOTrainer(Headed, Written, Base):  # type: ignore[misc]
    """TRL's GRPOTrainer with one more argument, `objective`.

    Everything else is TRL's: generation, rewards and the advantages made of them (`scale_rewards`), tools, PEFT,
    evaluation. Token log-probs of policy, old policy and reference are computed by `poz.torch.linear_logps` (see
    `poz.integrations.trl.install`). The objective takes the place of `loss_type` and holds all hyper-parameters of the
    loss, so those of GRPOConfig (`beta`, `epsilon`, `importance_sampling_level`, `entropy_coef`, ...) must stay at their
    defaults. TRL's default loss is `poz.dapo.bind(epsilon_high=0.2)`; `poz audit --library TRL` says what
    reproduces TRL's of that name.

    * An objective that reads no reference keeps no reference model and runs no reference pass. Otherwise the reference is
      the policy before training: a copy of the model that is handed over, or the base of an adapter. It has no dropout,
      and neither has the old policy; `disable_dropout` reaches the rates of attention too.
    * Where the old policy is the policy itself (one optimiser step for each generation) TRL gives none, and the objective
      is exactly on-policy.
    * What the sampler gave its tokens comes with `use_vllm=True` or a `rollout_func`. TRL corrects for vLLM unless it is
      told not to; here that is the objective's `correction`, and one that has none wants
      `vllm_importance_sampling_correction=False`.
    * The batch of an objective is that of one optimiser step, all micro-batches of all processes: a mean over tokens is
      over all of them. TRL's is over the tokens of a generation, the same where `steps_per_generation` is
      `gradient_accumulation_steps`, its default. An objective that ties a batch together otherwise than by counting, such
      as `kl_cov`, wants no accumulation. Tokens that are chosen at random (`clip_cov`) are those of `GRPOConfig.seed`.
    * The metric `entropy` is TRL's; `kl` is the mean of k3 over tokens, whatever estimator the loss has and not weighted
      by the ratio. `clip_ratio/low_mean`, `high_mean` and `region_mean` are the shares of all tokens to which the
      objective, its KL and entropy aside, gives no gradient in completions that did badly, well, and either.

    Args:
        model: As for TRL.
        reward_funcs: As for TRL.
        args: `trl.GRPOConfig`.
        *others: The other arguments of TRL's GRPOTrainer, in its order.
        objective: A name of `poz.zoo`, or an objective on `poz.Rollouts` with its hyper-parameters bound, such as
            `poz.cispo.bind(epsilon_high=4.0)`.
        **kwargs: The same by name.

    Raises:
        ValueError: The objective is given something else, or reads what the trainer does not have, settings contradict
            each other, the data hold images or no prompts, or the model's head does more than multiply its last hidden
            states.
        poz.UnknownObjective: No objective of that name.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: Any = None,
        *others: Any,
        objective: str | Objective = "grpo",
        **kwargs: Any,
    ) -> None:
        self.objective = self._objective = spec = spec_of(zoo[objective] if isinstance(objective, str) else objective)
        given = by_name(Base, model, reward_funcs, args, *others, **kwargs)
        name_after(self, spec)
        args = given["args"] = grpo_config.GRPOConfig(folder(model, spec)) if args is None else args
        _check_objective(spec, args, given)
        check_config(spec, args, _TRL_LOSS)
        _check_sampler(spec, args, given)
        check_constant(spec, given)
        for name in ("train_dataset", "eval_dataset"):
            _check_data(given.get(name), name, given)
        self._noise = torch.Generator().manual_seed(args.seed + args.process_index)
        self._tied, read = tied(spec), "ref_logps" in spec.reads
        with changed(args, beta=float(read)), installed(), policy_is_reference(self, grpo_trainer, given, read=read):
            super().__init__(**given)
        if args.disable_dropout:
            disable_dropout(self.model)
        self.remember_heads()

    @contextmanager
    def passing(self, model: Any) -> Iterator[None]:
        """poz's head, and no dropout in what is held constant."""
        with installed(), nullcontext() if torch.is_grad_enabled() else evaluating(model):
            yield

    def loss_of(self, model: Any, inputs: Mapping[str, Any]) -> Tensor:
        """The share of a micro-batch in the objective's mean over the batch of an optimiser step."""
        self.check_heads()
        logps, entropy, balance = self.scored(model, inputs)
        made = _rollouts(logps, entropy, inputs)
        if "noise" in self._objective.reads:
            made = made._replace(noise=torch.rand(logps.shape, generator=self._noise).to(logps))
        step = self.of_step(inputs) if self.model.training else [inputs]
        objective = self._objective
        if objective.coupled and not self._tied:
            here = sum((Counts.of(_mask(one)) for one in step), Counts(0, 0, 0))
            whole = self.accelerator.reduce(torch.tensor(here, device=logps.device), reduction="sum")
            objective = objective.within(Counts(*whole.tolist()))
        loss = self._losses(objective, made).mean()
        measured = {"entropy": total(entropy, made.mask), **_measured(objective, made)}
        if balance is not None:
            loss = loss + self.router_aux_loss_coef * balance
            measured["aux_loss"] = total(balance)
        self._log(measured)
        return loss / (self.current_gradient_accumulation_steps if self.model.training else 1)

    def _losses(self, objective: Objective, made: Rollouts) -> Tensor:
        if not objective.coupled:
            return objective(made)  # type: ignore[no-any-return]
        pad = self.accelerator.pad_across_processes
        wide = {name: pad(x, dim=1).to(x.dtype) for name, x in made._asdict().items() if x is not None}
        return whole_batch(objective, made._replace(**wide))

    def _log(self, measured: Mapping[str, Tensor]) -> None:
        """Means over the tokens of all processes."""
        logged = self.logged["train" if self.model.training else "eval"]
        for end in ("min", "mean", "max"):  # of the correction that TRL would have made
            logged.pop(f"sampling/importance_sampling_ratio/{end}", None)
        summed = self.accelerator.reduce(torch.stack([*measured.values()]), reduction="sum").tolist()
        for name, (value, number) in zip(measured, summed, strict=True):
            logged[name].append(value / max(number, 1))


def _bare(objective: Objective) -> Objective:
    """The objective without its KL and its entropy."""
    if isinstance(objective, Combination):
        return combine([(_bare(part), weight) for part, weight in objective.parts])
    return objective.bind(**dict.fromkeys({"kl_weight", "entropy_weight"} & objective.params.keys(), 0.0))


def _mask(inputs: Mapping[str, Any]) -> Tensor:
    """(rows, tokens), 1 at what the policy wrote."""
    mask: Tensor = inputs["completion_mask"]
    return mask * inputs["tool_mask"] if "tool_mask" in inputs else mask


def _rollouts(logps: Tensor, entropy: Tensor, inputs: Mapping[str, Any]) -> Rollouts:
    """What TRL has of a micro-batch; where the sampler gave a token no number, that is the old policy's."""
    old, sampler = inputs.get("old_per_token_logps"), inputs.get("sampling_per_token_logps")
    if sampler is not None:
        sampler = torch.where(sampler.isnan(), logps.detach() if old is None else old, sampler)
    return Rollouts(
        logps,
        old_logps=old,
        ref_logps=inputs.get("ref_per_token_logps"),
        sampler_logps=sampler,
        entropy=entropy,
        mask=_mask(inputs).bool(),
        advantages=inputs["advantages"],
    )


def _measured(objective: Objective, made: Rollouts) -> dict[str, Tensor]:
    """Totals over tokens: of the KL to the reference, and of those that have no gradient."""
    logps = made.logps.detach().requires_grad_()
    with torch.enable_grad():
        losses = _bare(objective)(made._replace(logps=logps, entropy=made.entropy.detach()))
        (slope,) = torch.autograd.grad(losses.sum(), logps)
    still, good = slope == 0, made.advantages[:, None]
    sides = {"low": still & (good < 0), "high": still & (good > 0), "region": still & (good != 0)}
    found = {f"clip_ratio/{side}_mean": total(where, made.mask) for side, where in sides.items()}
    if "ref_logps" in objective.reads:
        apart = made.ref_logps - made.logps.detach()
        found["kl"] = total(torch.expm1(apart) - apart, made.mask)
    return found


def _check_objective(spec: Objective, args: Any, given: Mapping[str, Any]) -> None:
    name = spec.name
    if spec.family is not Rollouts:
        raise ValueError(
            f"GRPOTrainer needs an objective on poz.Rollouts, such as `grpo`, `dapo` or `cispo`; got `{name}`, which reads "
            f"{named(spec.family)}. poz.integrations.trl has trainers for pairs, single completions and scores."
        )
    if "token_advantages" in spec.reads:
        raise ValueError(
            f"`{name}` reads token_advantages, and TRL has one advantage for each completion. Bind per_token=False."
        )
    if "groups" in spec.reads:
        raise ValueError(
            f"`{name}` reads groups, and TRL does not tell a loss of which prompt a completion is. Call it in a loop of your own."
        )
    for part in parts(spec):
        if part.name in _OWN_ADVANTAGES:
            raise ValueError(
                f"`{part.name}` wants advantages {_OWN_ADVANTAGES[part.name]}, and TRL's are within the group of a prompt. Call "
                "it in a loop of your own."
            )
    if "ref_logps" not in spec.reads and args.sync_ref_model:
        raise ValueError(f"`{name}` reads no reference, but got sync_ref_model=True. Leave it False.")
    steps, each = args.gradient_accumulation_steps, args.steps_per_generation
    if tied(spec) and steps > 1:
        raise ValueError(
            f"`{name}` is defined over the whole batch ({spec.coupled}), so gradient_accumulation_steps={steps} would change it. "
            "Set 1, or use poz.torch.slopes in your own loop."
        )
    if spec.coupled and each % steps:
        raise ValueError(
            f"`{name}` is defined over the whole batch ({spec.coupled}), that of gradient_accumulation_steps={steps}, and "
            f"with steps_per_generation={each} some of it is not written when the first of it is trained on. Make "
            "steps_per_generation a multiple of gradient_accumulation_steps."
        )


def _check_sampler(spec: Objective, args: Any, given: Mapping[str, Any]) -> None:
    read = "sampler_logps" in spec.reads
    if read and not args.use_vllm and given.get("rollout_func") is None:
        raise ValueError(
            f"`{spec.name}` reads sampler_logps, what the sampler gave the tokens that it wrote, and without use_vllm=True or "
            "a rollout_func the policy itself writes them. Bind correction='none'."
        )
    if args.use_vllm and args.vllm_importance_sampling_correction != read:
        raise ValueError(
            f"`{spec.name}` corrects for the sampler by its own `correction`, and with use_vllm=True TRL has "
            f"vllm_importance_sampling_correction={args.vllm_importance_sampling_correction}. "
            + (
                "Set it True, which has TRL hand over what vLLM gave its tokens."
                if read
                else "Set it False, or bind TRL's default, correction='sequence_mask' and correction_high=3.0."
            )
        )


def _check_data(dataset: Any, name: str, given: Mapping[str, Any]) -> None:
    for one in dataset.values() if isinstance(dataset, dict) else [dataset]:
        there = getattr(one, "column_names", None) or []
        if {"image", "images"} & {*there}:
            raise ValueError(f"poz's GRPOTrainer trains on text; {name} holds images.")
        if there and "prompt" not in there and given.get("environment_factory") is None:
            raise ValueError(f"{name} must have a column 'prompt'; it has {', '.join(there)}.")


_OWN_ADVANTAGES = {"a2po": "R - V* of samples of the reference, poz.advantages.optimal"}
"""Objectives that are another thing with advantages of a group."""

_TRL_LOSS = {
    "loss_type": "dapo",
    "beta": 0.0,
    "epsilon": 0.2,
    "epsilon_high": None,
    "delta": None,
    "importance_sampling_level": "token",
    "use_bias_correction_kl": True,
    "sapo_temperature_pos": 1.0,
    "sapo_temperature_neg": 1.05,
    "vespo_k_pos": 2.0,
    "vespo_lambda_pos": 3.0,
    "vespo_k_neg": 3.0,
    "vespo_lambda_neg": 2.0,
    "top_entropy_quantile": 1.0,
    "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
    "entropy_coef_min": 0.0,
    "entropy_coef_max": 1.0,
    "entropy_coef_delta": 0.005,
    "entropy_target": 0.2,
    "off_policy_mask_threshold": None,
    "vllm_importance_sampling_cap": None,  # which sets clip_max
    "vllm_importance_sampling_mode": "sequence_mask",
    "vllm_importance_sampling_clip_max": 3.0,
    "vllm_importance_sampling_clip_min": None,
}
"""The fields of GRPOConfig that the objective replaces, with their defaults."""
