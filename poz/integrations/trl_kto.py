"""TRL's own KTOTrainer with any objective of poz that tells desirable completions from others.

from poz.integrations.trl_kto import KTOTrainer

KTOTrainer(model=..., objective="bco", args=KTOConfig(...), train_dataset=...).train()
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from poz.families import Unpaired
from poz.integrations import batches, data
from poz.integrations.trl import (
    Recorder,
    by_name,
    changed,
    check_columns,
    check_config,
    folder,
    name_after,
    spec_of,
)
from poz.integrations.trl_head import installed
from poz.integrations.trl_metrics import LOSS, Counted, total
from poz.integrations.trl_reference import (
    as_prepared,
    disable_dropout,
    evaluating,
    no_reference_pass,
    own_cache,
    policy_is_reference,
)
from poz.objective import Objective
from poz.torch.whole_batch import whole_batch
from poz.zoo import zoo

try:
    from trl.trainer import kto_config, kto_trainer
    from trl.trainer.utils import global_then_local_main_first
except ImportError as error:
    raise ImportError(f"poz.integrations.trl_kto needs trl >= 1.16, where KTOTrainer is stable. {error}") from error

Base: Any = kto_trainer.KTOTrainer
TOKEN_METRICS = ("log_probs", "entropy", "mean_logits")
"""What TRL's head computes."""


class KTOTrainer(Counted, Base):  # type: ignore[misc]
    """TRL's KTOTrainer with one more argument, `objective`.

    Everything else is TRL's: the data formats (pairs are taken apart), PEFT, precomputed reference log-probs,
    evaluation and the names of the metrics. The objective takes the place of `loss_type` and holds all
    hyper-parameters of the loss, so `beta` and the two weights of KTOConfig must stay at their defaults. The loss is
    the mean over the completions of a batch.

    * Where the objective reads KL samples, as KTO does with its default estimator, they are TRL's: each completion
      under its neighbour's prompt, which needs sequential sampling, where a last batch of one example has a neighbour
      in the batch before. The samples of all processes make one estimate, and
      each micro-batch of gradient accumulation its own, as in TRL. Other objectives need neither.
    * `kl` and `weights` are columns of the data set; `poz.Unpaired` says what they mean.
    * `rewards/*` are beta * (log-prob - reference's log-prob), with the objective's beta, and `kl` is the KL that the
      objective uses; there is none of BCO. TRL's advice on the two weights of the classes is for objectives that have
      them.

    Args:
        model: As for TRL.
        ref_model: As for `poz.integrations.trl.DPOTrainer`: the policy before training where this is None.
        args: `trl.KTOConfig`.
        objective: "kto", "bco", or an objective on `poz.Unpaired` with its hyper-parameters bound.
        *others: The other arguments of TRL's KTOTrainer, in its order.
        **kwargs: The same by name.

    Raises:
        ValueError: The objective is given something else, a column that it must find is missing, or settings
            contradict each other.
        poz.UnknownObjective: No objective of that name.
    """

    data_collator: Any
    _signature_columns: Any
    _total_train_tokens: Any

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: Any = None,
        *others: Any,
        objective: str | Objective = "kto",
        **kwargs: Any,
    ) -> None:
        self.objective = self._objective = spec = spec_of(zoo[objective] if isinstance(objective, str) else objective)
        if spec.family is not Unpaired or not {"ref_logps", "desirable"} <= spec.reads:
            raise ValueError(
                f"KTOTrainer needs an objective that tells desirable completions from others, such as `kto` or `bco`; "
                f"got `{spec.name}`. Use poz.integrations.trl.DPOTrainer for objectives on pairs, and for `npo`."
            )
        self._columns = sum(batches.columns_read(spec), ())
        name_after(self, spec)
        given = by_name(Base, model, ref_model, args, *others, **kwargs)
        args = given["args"] = kto_config.KTOConfig(folder(model, spec)) if args is None else args
        check_config(spec, args, _TRL_LOSS)
        if spec.coupled and args.gradient_accumulation_steps > 1:
            warnings.warn(
                f"`{spec.name}` is defined over the whole batch ({spec.coupled}); with gradient_accumulation_steps="
                f"{args.gradient_accumulation_steps} each micro-batch makes its own estimate, as in TRL. Set 1, or give `kl` "
                "as a column with kto(estimator='given').",
                stacklevel=2,
            )
        first = data.first_of(given.get("train_dataset"), "the training data set")
        self._used = set(self._columns) & set(first)
        if "image" in first or "images" in first:
            raise ValueError(f"poz's KTOTrainer with `{spec.name}` trains on text; the training data set holds images.")
        kind = "kto" if "kl_logps" in spec.reads else "apo_zero_unpaired"  # whether TRL makes KL samples
        # TRL gives advice on the weights where the data set is not balanced; it has none on 0.
        weights = {name: spec.values.get(name, 0.0) for name in ("desirable_weight", "undesirable_weight")}
        with changed(args, loss_type=kind, **weights), installed(), policy_is_reference(self, kto_trainer, given):
            super().__init__(**given)
        if args.disable_dropout:
            disable_dropout(self.model)
        self.beta = batches.reward_scale(spec)
        self.desirable_weight = self.undesirable_weight = 0.0  # so TRL's own loss is 0
        self.data_collator = batches.Columns(self.data_collator, self._columns)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        where = f"the data set {dataset_name!r}"
        check_columns(self._objective, self._used, data.first_of(dataset, where), where)
        dataset = data.prepared(dataset, self._columns, where, single=True)
        with changed(self, calculate_KL=False):
            made = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        data.check_left(made, dataset, where, args.max_length)
        if not self.calculate_KL:
            return made
        with global_then_local_main_first():  # in one process each, where blocks are those of training
            return made.map(
                Neighbours(where), with_indices=True, batched=True, batch_size=args.per_device_train_batch_size
            )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns = list(dict.fromkeys((*self._signature_columns, *self._columns)))

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        with own_cache(self):
            return super()._precompute_ref_logps(dataset, name, batch_size)

    def compute_ref_log_probs(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """TRL's: summed log-probs of the reference for the completions and for the KL samples, or None."""
        with installed(), evaluating(self.model if self.ref_model is None else self.ref_model):
            return super().compute_ref_log_probs(model, inputs)

    def _compute_kl_logps(self, model: Any, batch: Mapping[str, Any]) -> Any:
        self._kl_logps = super()._compute_kl_logps(model.model, batch)
        return self._kl_logps

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        mode, trained = "train" if self.model.training else "eval", self._total_train_tokens
        columns = {name: inputs[name] for name in self._columns if name in inputs}
        inputs = {name: value for name, value in inputs.items() if name not in columns}
        if not self.precompute_ref_logps:
            with as_prepared(self):
                reference = self.compute_ref_log_probs(self.model if self.ref_model is None else self.ref_model, inputs)
            inputs |= dict(zip(("ref_logps", "ref_KL_logps"), reference, strict=True))
        policy = Recorder(model)
        with no_reference_pass(self), installed():
            trls = super()._compute_loss(policy, inputs, return_outputs)
        self._total_train_tokens = trained
        mask = inputs["completion_mask"]
        here = self.examples_here(len(mask))
        tokens = mask[:here, 1:].bool()
        logps, entropy, logits = (policy.per_token(name, mask)[:here].float() for name in TOKEN_METRICS)
        samples = {"kl_logps": self._kl_logps, "kl_ref_logps": inputs.get("ref_KL_logps")}
        made = Unpaired(
            logps.where(tokens, torch.zeros_like(logps)).sum(1),
            ref_logps=inputs["ref_logps"][:here].float(),
            desirable=inputs["label"][:here].bool(),
            lengths=mask[:here].sum(1),
            **{name: None if x is None else x[:here] for name, x in samples.items()},
            **{name: column[:here] for name, column in columns.items()},
        )
        # What is left of TRL's loss is the load balancing of mixtures of experts.
        losses = whole_batch(self._objective, made) + (trls[0] if return_outputs else trls)
        totals = {LOSS: total(losses), "entropy": total(entropy, tokens), **self._kl(mode, made)}
        for side, rows in (("chosen", made.desirable), ("rejected", ~made.desirable)):
            totals[f"rewards/{side}"] = total(self.beta * (made.logps - made.ref_logps), rows)
            totals[f"logps/{side}"] = total(made.logps, rows)
            totals[f"logits/{side}"] = total(logits, tokens & rows[:, None])
        self.count(mode, totals, inputs["attention_mask"].sum())
        loss = losses.mean() if len(losses) else losses.sum()
        return (loss, trls[1]) if return_outputs else loss

    def _kl(self, mode: str, made: Unpaired) -> dict[str, torch.Tensor]:
        """The KL that the objective uses, once for each example; none where it uses none."""
        used = {part.values.get("estimator") for part in batches.parts(self._objective)} - {None}
        if not used:
            self._metrics[mode].pop("kl")
            return {}
        samples, counted = torch.zeros_like(made.logps), torch.ones_like(made.logps)
        if {"mean", "nonzero_mean"} & used:
            samples = made.kl_logps - made.kl_ref_logps
            counted = counted if "mean" in used else (samples != 0).float()
        elif "given" in used:
            samples = made.kl.float().relu()
        value, number = self.accelerator.gather(torch.stack((samples.sum(), counted.sum()))[None]).sum(0)
        return {"kl": total((value / number.clamp(min=1)).clamp(min=0).expand(len(samples)))}


class Neighbours:
    """KL samples as TRL makes them: in each block, every example has the completion before it, the first the last one.

    A block of one, which TRL gives its own completion, has the last one of the block before.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.before: list[int] | None = None

    def __call__(self, block: dict[str, list[Any]], indices: list[int]) -> dict[str, list[Any]]:
        """The block with the column `KL_completion_ids`.

        Raises:
            ValueError: There is one example only.
        """
        completions = block["completion_ids"]
        before = None if indices[0] == 0 else self.before
        first = completions[-1] if len(completions) > 1 else before
        if first is None:
            raise ValueError(
                f"A KL sample needs the completion of a second example, and {self.where} has one. Give more, or an "
                "objective without samples, such as kto(estimator='zero')."
            )
        self.before = completions[-1]
        return {**block, "KL_completion_ids": [first, *completions[:-1]]}


_TRL_LOSS = {"loss_type": "kto", "beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}
"""The fields of KTOConfig that the objective replaces, with their defaults."""
