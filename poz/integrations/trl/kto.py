"""TRL's own KTOTrainer with any objective of poz that tells desirable completions from others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from poz.columns import columns_read
from poz.families import Unpaired, layout_of, named
from poz.integrations.trl import data
from poz.integrations.trl.columns import Columns
from poz.integrations.trl.head import installed
from poz.integrations.trl.metrics import LOSS, Counted, total
from poz.integrations.trl.modes import disable_dropout
from poz.integrations.trl.options import check_options, objective_of
from poz.integrations.trl.reference import as_prepared, policy_is_reference
from poz.integrations.trl.seams import Sampled, global_then_local_main_first, kto_config, kto_trainer
from poz.integrations.trl.shared import (
    Recorder,
    Shared,
    by_name,
    changed,
    check_columns,
    check_config,
    check_constant,
    folder,
    name_after,
)
from poz.objective import Objective
from poz.torch.implicit_rewards import reward_scale
from poz.torch.scored import SCORES_OF_REWARDS, parts, spec_of
from poz.torch.whole_batch import whole_batch
from poz.zoo import zoo

Base: Any = kto_trainer.KTOTrainer
TOKEN_METRICS = ("log_probs", "entropy", "mean_logits")
"""What is read of the output of TRL's head."""


class KTOTrainer(Counted, Shared, Sampled, Base):  # type: ignore[misc]
    """TRL's KTOTrainer with one more argument, `objective`.

    Everything else is TRL's: the data formats (pairs are taken apart), PEFT, precomputed reference log-probs,
    evaluation and the names of the metrics. The objective takes the place of `loss_type` and holds all
    hyper-parameters of the loss, so beside one `beta` and the two weights of KTOConfig must stay at their defaults; where
    none is given, they say which one it is (`poz.integrations.trl.objective_of`), and it reads no columns, as in TRL. The
    loss is the mean over the completions of a batch.

    * Where the objective reads KL samples, as KTO does with its default estimator, they are TRL's: each completion
      under its neighbour's prompt, which needs sequential sampling, where a last batch of one example has a neighbour
      in the batch before. The samples of all processes make one estimate, and
      each micro-batch of gradient accumulation its own, as in TRL. Other objectives need neither.
    * With images the KL samples are made within a batch by TRL's collator, so that one of a single example is refused.
    * `kl` and `weights` are columns of the data set; `poz.Unpaired` says what they mean.
    * `rewards/*` are beta * (log-prob - reference's log-prob), with the objective's beta, and `kl` is the KL that the
      objective uses; there is none of BCO. TRL's advice on the two weights of the classes is for objectives that have
      them.

    Args:
        model: As for TRL.
        ref_model: As for `poz.integrations.trl.DPOTrainer`: the policy before training where this is None.
        args: `trl.KTOConfig`.
        objective: What `args` say where it is None, KTO with their defaults; "kto", "bco", or an objective on
            `poz.Unpaired` with its hyper-parameters bound.
        *others: The other arguments of TRL's KTOTrainer, in its order.
        **kwargs: The same by name.

    Raises:
        ValueError: The objective is given something else, a column that it must find is missing, or settings
            contradict each other.
        poz.UnknownObjective: No objective of that name.
    """

    data_collator: Any

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: Any = None,
        *others: Any,
        objective: str | Objective | None = None,
        **kwargs: Any,
    ) -> None:
        given = by_name(Base, model, ref_model, args, *others, **kwargs)
        theirs = objective is None
        if objective is None:
            objective = zoo["kto"] if args is None else objective_of(args)
        self.objective = self._objective = spec = spec_of(zoo[objective] if isinstance(objective, str) else objective)
        if layout_of(spec.family).scores:
            raise ValueError(f"`{spec.name}` reads {named(spec.family)}, {SCORES_OF_REWARDS}")
        if spec.family is not Unpaired or not {"ref_logps", "desirable"} <= spec.reads:
            raise ValueError(
                f"KTOTrainer needs an objective that tells desirable completions from others, such as `kto` or `bco`; "
                f"got `{spec.name}`. Use poz.integrations.trl.DPOTrainer for objectives on pairs, and for `npo`."
            )
        self.columns = columns_read(spec)[0] if theirs else sum(columns_read(spec), ())  # TRL's own losses know none
        name_after(self, spec)
        args = given["args"] = kto_config.KTOConfig(folder(model, spec)) if args is None else args
        if not theirs:
            check_options(spec, args)
        check_config(spec, args, {})
        check_constant(spec, given)
        if spec.coupled and args.gradient_accumulation_steps > 1:
            warnings.warn(
                f"`{spec.name}` is defined over the whole batch ({spec.coupled}); with gradient_accumulation_steps="
                f"{args.gradient_accumulation_steps} each micro-batch makes its own estimate, as in TRL. Set 1, or give `kl` "
                "as a column with kto(estimator='given').",
                stacklevel=2,
            )
        first = data.first_of(given.get("train_dataset"), "the training data set")
        self._used = set(self.columns) & set(first)
        if data.with_images(first):
            data.check_images(given, self.columns, ("prompt", "completion", "label"))
        kind = "kto" if "kl_logps" in spec.reads else "apo_zero_unpaired"  # whether TRL makes KL samples
        # TRL gives advice on the weights where the data set is not balanced; it has none on 0.
        weights = {name: spec.values.get(name, 0.0) for name in ("desirable_weight", "undesirable_weight")}
        with changed(args, loss_type=kind, **weights), installed(), policy_is_reference(self, kto_trainer, given):
            super().__init__(**given)
        if args.disable_dropout:
            disable_dropout(self.model)
        self.beta = reward_scale(spec)
        self.data_collator = Columns(self.data_collator, self.columns)
        self.remember_heads()

    def prepare(self, dataset: Any, name: str, args: Any, trls: Callable[[Any], Any]) -> Any:
        """TRL's, of rows that are looked through, with samples for the KL where the objective reads them.

        Raises:
            ValueError: A row that is not understood, a column that is missing, or no second example for a sample.
        """
        where = f"the data set {name!r}"
        check_columns(self._objective, self.columns, self._used, data.first_of(dataset, where), where)
        dataset = data.prepared(dataset, self.columns, where, single=True)
        with self.no_samples():
            made = trls(dataset)
        data.check_left(made, dataset, where, args.max_length)
        if not self.calculate_KL:
            return made
        with global_then_local_main_first():  # in one process each, where blocks are those of training
            return made.map(
                Neighbours(where), with_indices=True, batched=True, batch_size=args.per_device_train_batch_size
            )

    def loss_of(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        """The objective's mean over the batch, and the model's outputs if they are asked for."""
        mode = "train" if self.model.training else "eval"
        columns, inputs = self.split(inputs)
        self.check_heads()
        if not self.precompute_ref_logps:
            with as_prepared(self):
                reference = self.compute_ref_log_probs(self.model if self.ref_model is None else self.ref_model, inputs)
            inputs |= dict(zip(("ref_logps", "ref_KL_logps"), reference, strict=True))
        policy = Recorder(model)
        with installed():
            trls = self.trls_loss(policy, inputs, return_outputs)
        mask = inputs["completion_mask"]
        here = self.examples_here(len(mask))
        tokens = mask[:here, 1:].bool()
        logps, entropy, logits = (policy.per_token(name, mask)[:here].float() for name in TOKEN_METRICS)
        samples = {"kl_logps": self.kl_logps, "kl_ref_logps": inputs.get("ref_KL_logps")}
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
        used = {part.values.get("estimator") for part in parts(self._objective)} - {None}
        if not used:
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
