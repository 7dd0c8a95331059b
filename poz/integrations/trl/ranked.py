"""TRL's own DPOTrainer on lists of K completions, with any objective of poz that reads lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from poz.columns import list_columns, needs_reference
from poz.families import layout_of, named
from poz.integrations.trl.head import installed
from poz.integrations.trl.lists import IDS, REFERENCE, SIZES, Lists, padded, prepared, tokenised
from poz.integrations.trl.metrics import LOSS, Counted, total
from poz.integrations.trl.modes import disable_dropout
from poz.integrations.trl.options import DPO
from poz.integrations.trl.reference import as_prepared, policy_is_reference
from poz.integrations.trl.seams import TOKEN_METRICS, dpo_config, dpo_trainer
from poz.integrations.trl.shared import (
    Recorder,
    Shared,
    by_name,
    changed,
    check_config,
    check_constant,
    folder,
    name_after,
)
from poz.objective import Objective
from poz.torch.implicit_rewards import list_rewards
from poz.torch.lists import ScoredLists, list_losses
from poz.torch.scored import TWO_PROMPTS, parts, spec_of
from poz.zoo import zoo

Base: Any = dpo_trainer.DPOTrainer


class RankedTrainer(Counted, Shared, Base):  # type: ignore[misc]
    """TRL's DPOTrainer on lists of K completions of each prompt, for any objective on `poz.Ranked` or `poz.Samples`.

    The data set has `prompt`, `completions`, a list of texts or of lists of messages, and for each completion a number:
    `scores`, `ranks` (1 for the best) or `winrates`; docs/data.md has the layouts of UltraFeedback and others. Lists may
    be of unequal length where the objective has a mask. All else is as for `poz.integrations.trl.DPOTrainer`:
    hyper-parameters are the objective's, the reference is the policy before training unless `ref_model` says otherwise,
    PEFT, precomputed reference log-probs, evaluation and mixed precision are TRL's, log-probs are poz's.

    * A list is put in the order of its numbers, equal ones as they come. An objective that reads the order alone
      (`plackett_luce`, `s_dpo`, `tpo`) is given no list with equal numbers; lists of fewer than two completions, with
      the same one twice, or without a better one, are left out. A warning counts them.
    * The loss is the mean over the lists of a batch, and over the micro-batches of a step.
    * `per_device_train_batch_size` counts prompts: a batch has all their completions as rows.
    * `poz.Samples` are given the reference for the policy of the last iteration.
    * Metrics have TRL's names: `chosen` is the best completion and `rejected` the mean over the others, `rewards/accuracies`
      the share of lists in which a best completion has the highest reward, `rewards/ordered` the share of pairs with different
      numbers whose rewards are in their order. With K = 2 they are those of DPOTrainer.

    Args:
        model: As for TRL.
        ref_model: As for `poz.integrations.trl.DPOTrainer`.
        args: `trl.DPOConfig`.
        *others: The other arguments of TRL's DPOTrainer, in its order.
        objective: A name of `poz.zoo`, or an objective on lists with its hyper-parameters bound.
        **kwargs: The other arguments by name.

    Raises:
        TypeError: A stream in place of a data set.
        ValueError: The objective reads something else, a list that it cannot take, a row that is not understood, or
            settings that contradict each other.
        poz.UnknownObjective: No objective of that name.
    """

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: Any = None,
        *others: Any,
        objective: str | Objective = "pro",
        **kwargs: Any,
    ) -> None:
        given = by_name(Base, model, ref_model, args, *others, **kwargs)
        # `objective` is for callers; a search for hyper-parameters puts its own number there
        self.objective = self._objective = spec = spec_of(zoo[objective] if isinstance(objective, str) else objective)
        self._numbers = list_columns(spec)
        self.columns = (IDS, SIZES, REFERENCE, *self._numbers)
        self._reads_reference = needs_reference(spec)
        self._widest = 0
        name_after(self, spec)
        args = given["args"] = dpo_config.DPOConfig(folder(model, spec)) if args is None else args
        self._check(args, given)
        precompute = args.precompute_ref_log_probs and self._reads_reference
        reference = policy_is_reference(self, dpo_trainer, given, read=self._reads_reference)
        with changed(args, precompute_ref_log_probs=precompute), installed(), reference:
            super().__init__(**given)
        if args.disable_dropout:
            disable_dropout(self.model)
        self.remember_heads()

    def _check(self, args: Any, given: Mapping[str, Any]) -> None:
        spec = self._objective
        layout = layout_of(spec.family)
        if not (layout.lists and layout.tokens):
            raise ValueError(
                f"`{spec.name}` reads {named(spec.family)}, not lists of completions. Give an objective on poz.Ranked or "
                "poz.Samples, such as `pro`, or see the other trainers of poz.integrations.trl."
            )
        if apart := [part.name for part in parts(spec) if part.name in TWO_PROMPTS]:
            raise ValueError(
                f"`{apart[0]}` reads log-probs under two prompts, and a list has one. Score them in a loop of your own and "
                "call poz.torch.list_losses."
            )
        if given.get("compute_metrics") is not None:
            raise ValueError("compute_metrics is given rows, which are no lists. Leave it out; the metrics are logged.")
        check_config(spec, args, DPO)
        check_constant(spec, given)
        if spec.coupled and args.gradient_accumulation_steps > 1:
            raise ValueError(
                f"`{spec.name}` is defined over the whole batch ({spec.coupled}), so gradient_accumulation_steps="
                f"{args.gradient_accumulation_steps} would change it. Set 1, or use poz.torch.slopes in your own loop."
            )
        if not self._reads_reference and (given.get("ref_model") is not None or args.sync_ref_model):
            what = "sync_ref_model=True" if given.get("ref_model") is None else "a ref_model"
            raise ValueError(f"`{spec.name}` reads no reference, but got {what}. Leave it out.")

    @property
    def data_collator(self) -> Lists:
        """The collator of lists, around one of pairs, TRL's own or the caller's."""
        return self._collator

    @data_collator.setter
    def data_collator(self, collator: Any) -> None:
        self._collator = collator if isinstance(collator, Lists) else Lists(collator, self._numbers)

    def prepare(self, dataset: Any, name: str, args: Any, trls: Callable[[Any], Any]) -> Any:
        """TRL's, of lists that are looked through.

        Raises:
            TypeError, ValueError: As for the trainer.
        """
        where = f"the data set {name!r}"
        lists = prepared(dataset, self._objective, where)
        self._widest = max(self._widest, *map(len, lists["completions"]))
        return tokenised(lists, trls, where, args)

    def compute_ref_log_probs(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Summed log-probs of the reference, (batch, widest list), and zeros in the place of TRL's rejected ones."""
        sizes = inputs[SIZES].tolist()
        sums = torch.cat(super().compute_ref_log_probs(model, inputs))[: sum(sizes)]
        return padded(sums, sizes, self._widest), sums.new_zeros(len(sizes))

    def loss_of(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        """The objective's mean over the lists of a batch, and the model's outputs if they are asked for."""
        mode = "train" if self.model.training else "eval"
        columns, inputs = self.split(inputs)
        self.check_heads()
        sizes, mask = columns[SIZES].tolist(), inputs["completion_mask"]
        rows = sum(sizes)
        policy, nothing = Recorder(model), mask.new_zeros(len(mask) // 2, dtype=torch.float)
        reference = self._reference(columns, inputs)
        with installed():
            known = {"ref_chosen_logps": nothing, "ref_rejected_logps": nothing}
            trls = self.trls_loss(policy, {**inputs, **known}, return_outputs)
        scored = ScoredLists(
            policy.per_token("log_probs", mask)[:rows],
            mask[:rows, 1:].bool(),
            sizes,
            mask[:rows].sum(1),
            None if reference is None else reference[:rows],
            {name: columns[name] for name in self._numbers},
        ).first(self.examples_here(len(sizes)))
        # What is left of TRL's loss is the load balancing of mixtures of experts.
        losses = list_losses(self._objective, scored) + (trls[0] if return_outputs else trls)
        per_token = [policy.per_token(name, mask)[: len(scored.logps)] for name in TOKEN_METRICS]
        tokens = inputs["attention_mask"][:rows].sum()
        self.count(mode, {LOSS: total(losses), **self._measured(scored, *per_token)}, tokens)
        loss = losses.mean() if len(losses) else losses.sum()
        return (loss, trls[1]) if return_outputs else loss

    def _measured(self, scored: ScoredLists, entropy: Tensor, logits: Tensor, top: Tensor) -> dict[str, Tensor]:
        """TRL's metrics, of the best completion, which stands first, and the mean of the others."""
        sizes, tokens = scored.counts(), scored.mask
        rewards = list_rewards(self._objective, scored)
        widest = rewards.shape[1]
        logps = padded(scored.logps.detach().where(tokens, torch.zeros_like(scored.logps)).sum(1), sizes, widest)
        valid = padded(torch.ones_like(tokens[:, 0], dtype=torch.bool), sizes, widest)
        others = valid[:, 1:]
        totals: dict[str, Tensor] = {}
        for name, values in (("rewards", rewards), ("logps", logps)):
            totals[f"{name}/chosen"] = total(values[:, 0])
            totals[f"{name}/rejected"] = total(_mean(values[:, 1:], others))
        totals["rewards/margins"] = total(rewards[:, 0] - _mean(rewards[:, 1:], others))
        worth = torch.arange(len(tokens), 0, -1, device=tokens.device)
        for name in self._numbers:
            worth = scored.columns[name]
        worth = padded(worth, sizes, widest)
        best, least = worth == worth[:, :1], -torch.inf  # of several equal ones, any may have the highest reward
        top_of = [rewards.masked_fill(~(valid & where), least).amax(1) for where in (best, ~best)]
        totals["rewards/accuracies"] = total(top_of[0] > top_of[1])
        better = (worth[:, :, None] > worth[:, None]) & valid[:, :, None] & valid[:, None]
        totals["rewards/ordered"] = total(rewards[:, :, None] > rewards[:, None], better)
        first = torch.zeros_like(tokens[:, 0])
        first[torch.tensor([0, *sizes[:-1]][: len(sizes)], device=best.device, dtype=torch.long).cumsum(0)] = True
        totals["entropy"] = total(entropy, tokens)
        totals["mean_token_accuracy"] = total(top, tokens & first[:, None])
        totals["logits/chosen"] = total(logits, tokens & first[:, None])
        totals["logits/rejected"] = total(logits, tokens & ~first[:, None])
        return totals

    def _reference(self, columns: Mapping[str, Any], inputs: Mapping[str, Any]) -> Tensor | None:
        """Log-probs of the reference, per token or summed."""
        if not self._reads_reference:
            return None
        if self.precompute_ref_logps:
            return columns[REFERENCE]  # type: ignore[no-any-return]
        reference = Recorder(self.model if self.ref_model is None else self.ref_model)
        with as_prepared(self):
            super().compute_ref_log_probs(reference, inputs)
        return reference.per_token("log_probs", inputs["completion_mask"])


def _mean(x: Tensor, where: Tensor) -> Tensor:
    """The mean of each row's values of a mask."""
    return x.where(where, torch.zeros_like(x)).sum(1) / where.sum(1).clamp(min=1)
