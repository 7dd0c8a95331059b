"""TRL's own DPOTrainer with any objective of poz that pairs can serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from poz import annotators
from poz._nearest import meant
from poz.columns import columns_read, needs_collision, needs_reference
from poz.families import layout_of
from poz.integrations.trl import data
from poz.integrations.trl.accumulated import HOW, Accumulated, tied, ties
from poz.integrations.trl.columns import Columns
from poz.integrations.trl.head import installed
from poz.integrations.trl.learnt import Learning
from poz.integrations.trl.metrics import LOSS, Counted, total
from poz.integrations.trl.modes import disable_dropout
from poz.integrations.trl.options import DPO, check_options, objective_of
from poz.integrations.trl.reference import as_prepared, policy_is_reference
from poz.integrations.trl.seams import TOKEN_METRICS, dpo_config, dpo_trainer
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
from poz.torch.implicit_rewards import implicit_rewards
from poz.torch.lcpo import LCPO
from poz.torch.scored import CALIBRATION, Scored, check_pairs, halves, parts, spec_of
from poz.zoo import zoo

Base: Any = dpo_trainer.DPOTrainer


class DPOTrainer(Learning, Accumulated, Counted, Shared, Base):  # type: ignore[misc]
    """TRL's DPOTrainer with one more argument, `objective`.

    Everything else is TRL's: the data formats, PEFT, precomputed reference log-probs, gradient accumulation (the mean
    of the micro-batches), evaluation, mixed precision and the names of the metrics. Token log-probs are computed by
    `poz.torch.linear_logps` (see `poz.integrations.trl.install`). The objective
    takes the place of `loss_type` and holds all hyper-parameters of the loss, so beside one those of DPOConfig (`beta`,
    `label_smoothing`, ...) must stay at their defaults. Where no objective is given, they say which one it is: see
    `poz.integrations.trl.objective_of`; it reads no columns, as in TRL.

    * With images (`image` or `images`, beside `prompt`, `chosen` and `rejected`) TRL's collator makes the tokens while it
      trains, so there are no weights of tokens, no precomputed reference, and rows are refused where texts would be left out.
    * A reference-free objective runs no reference pass, precomputes nothing and keeps no reference model.
    * Where no `ref_model` is given, the reference is the policy before training: a copy of the model that is handed
      over, wherever it was read from, or the base of an adapter. A reference that training would move is refused. It has
      no dropout, whatever the model has in training, and `disable_dropout` reaches the rates of attention too.
    * Lengths are `completion_mask.sum()`, as for TRL's `ipo`. Where a completion begins at the first token of its
      row, that token counts but has no log-prob.
    * `label`, `margin`, `annotator`, `entropy` and `prompt_embedding` are columns of the data set, and so are
      `chosen_weights` and `rejected_weights`, for each pair a list with one number for each token, of which those go
      that `max_length` cuts off. A ranked pair (PRO)
      has the known reward gap `margin`, or 1 where there is no such column. `poz.Pairs` and `poz.TokenPairs` say what
      each means.
    * An objective on unpaired completions (BCO, KTO, NPO) is given both completions of each pair, chosen as desirable
      and rejected as not, as TRL's own conversion does, and its loss is the mean over all 2 * batch of them; NPO, which
      unlearns all that it is given, is given the rejected ones alone. The columns `kl` and `weights` of a pair belong
      to both. KTO's samples for the KL are not in a batch of pairs: bind `estimator="zero"`, or "given" with a column
      `kl`, or use `poz.integrations.trl_kto.KTOTrainer`.
    * An objective that ties a batch together (AOT, SFT per token of the batch) sees, with gradient accumulation, all
      micro-batches of an optimiser step, for which some need one more forward pass of the policy. `accumulation=
      "micro_batch"` gives it each alone, as TRL does.
    * An objective that reads what pairs cannot give, such as a third completion, is refused.
    * Opponents (INPO, MNPO) are the columns `opponents_chosen` and `opponents_rejected`: for each pair a list of
      summed log-probs, one for each opponent. Without them the only opponent is the reference, which is the policy
      before training unless `ref_model` says otherwise: the first iteration of both methods, where the history holds
      one policy and it is the reference.
    * `rewards/*` are the objective's own implicit rewards: scale * (log-prob - reference's log-prob), with scale its
      first hyper-parameter in 1/nat (beta; IPO: tau; CPL: alpha; INPO: eta) or 1 (PRO), without the reference where
      it is not read, and with means per token where means are all that the objective sees. For DPO they are TRL's. Those
      of a combination are those of its first part with such a hyper-parameter.
    * Metrics are means over all examples or tokens since the last log, and `eval_loss` over all examples, whatever the
      sizes of batches and the number of processes.
    * Reference log-probs that are precomputed are cached on disk apart from TRL's, whose numbers differ with the head.

    Args:
        model: As for TRL.
        ref_model: As for TRL; refused where the objective reads no reference, asked for where the policy is sharded or
            quantised.
        args: `trl.DPOConfig`.
        objective: What `args` say where it is None, DPO with their defaults; a name of `poz.zoo`, an objective with its
            hyper-parameters bound, such as `poz.simpo.bind(beta=2.5)`, or a `poz.torch.LCPO`, whose reliabilities then
            move once for each optimiser step, not in evaluation, and are saved with each checkpoint. "lcpo", "lcpo_em"
            and "re_po" are names of LCPO-EM: they make one, over DPO, with a reliability for each id, of any kind, in
            the column `annotator`, or one for all where there is no such column. Reliabilities are logged as
            `reliability/ID` (of more than 50 annotators their least, mean and greatest) and saved beside the model as
            `reliability.json`. `poz.lcpo` itself is the loss at the reliability that it is given.
        calibration: The calibration samples of VPO: the batch's "chosen" completions (the usual choice offline, where
            it goes with `sign=-1`), the "rejected" ones, or "both".
        accumulation: What an objective that ties a batch together sees: the "whole" batch of an optimiser step, or each
            "micro_batch" alone, as in TRL.
        *others: The other arguments of TRL's DPOTrainer, in its order.
        **kwargs: The same by name.

    Raises:
        ValueError: Pairs cannot serve the objective, a column that it must find is missing, settings contradict each
            other, or the model's head does more than multiply its last hidden states.
        poz.UnknownObjective: No objective of that name.
    """

    data_collator: Any

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: Any = None,
        *others: Any,
        objective: str | Objective | LCPO | None = None,
        calibration: str = "chosen",
        accumulation: str = "whole",
        **kwargs: Any,
    ) -> None:
        given = by_name(Base, model, ref_model, args, *others, **kwargs)
        theirs = objective is None
        if theirs:
            objective = zoo["dpo"] if args is None else objective_of(args)
        if isinstance(objective, str):
            objective = self.named(objective, given.get("train_dataset"))
        # `objective` is for callers; a search for hyper-parameters puts its own number there
        self.objective = self._objective = objective
        self._spec = spec_of(self._objective)
        check_pairs(self._spec)
        if calibration not in CALIBRATION:
            raise ValueError(
                f"calibration must be one of {CALIBRATION}; got {calibration!r}.{meant(calibration, CALIBRATION)}"
            )
        if accumulation not in HOW:
            raise ValueError(f"accumulation must be one of {HOW}; got {accumulation!r}.{meant(accumulation, HOW)}")
        self._calibration = calibration
        required, optional = columns_read(self._spec)
        if self._annotators is None:  # of one reliability for all, ids say nothing
            optional = tuple(name for name in optional if name != annotators.COLUMN)
        self.columns = required if theirs else (*required, *optional)  # TRL's own losses know no columns
        name_after(self, self._spec)
        args = given["args"] = dpo_config.DPOConfig(folder(model, self._spec)) if args is None else args
        first = data.first_of(given.get("train_dataset"), "the training data set")
        self._used = set(self.columns) & set(first)
        self._reads_reference = needs_reference(self._spec, list(first))
        if not theirs:
            check_options(self._spec, args)
        self._check(args, ref_model, first, accumulation)
        if data.with_images(first):
            data.check_images(given, self.columns)
        check_constant(self._spec, given)
        precompute = args.precompute_ref_log_probs and self._reads_reference
        collision = needs_collision(self._spec)  # asked for, so that TRL's head computes it
        reference = policy_is_reference(self, dpo_trainer, given, read=self._reads_reference)
        plain = {name: default for name, default in DPO.items() if hasattr(args, name)}
        settings = {**plain, "precompute_ref_log_probs": precompute, "use_weighting": collision}
        with changed(args, **settings), installed(), reference:
            super().__init__(**given)
        if args.disable_dropout:
            disable_dropout(self.model)
        self.data_collator = Columns(self.data_collator, self.columns, self._annotators)
        self.learn()
        self.remember_heads()

    def _check(self, args: Any, ref_model: Any, first: Mapping[str, Any], accumulation: str) -> None:
        name = self._spec.name
        check_config(self._spec, args, {})
        split = args.gradient_accumulation_steps > 1 and ties(self._spec)
        self._whole = bool(split) and accumulation == "whole"
        if self._whole and tied(self._spec) and not args.disable_dropout:
            raise ValueError(
                f"`{name}` is defined over the whole batch ({self._spec.coupled}), of which gradient_accumulation_steps="
                f"{args.gradient_accumulation_steps} makes a first pass, and disable_dropout=False would make another second. "
                "Set disable_dropout=True, or accumulation='micro_batch', which is the loss of each micro-batch, as in TRL."
            )
        if self._reads_reference and args.precompute_ref_log_probs and layout_of(self._spec.family).per_token:
            raise ValueError(
                f"`{name}` reads reference log-probs per token; precompute_ref_log_probs=True keeps only their sums. "
                "Set it False."
            )
        if not self._reads_reference and ref_model is not None:
            raise ValueError(f"`{name}` reads no reference, but got a ref_model. Leave it out.")
        if not self._reads_reference and args.sync_ref_model:
            raise ValueError(f"`{name}` reads no reference, but got sync_ref_model=True. Leave it False.")

    def prepare(self, dataset: Any, name: str, args: Any, trls: Callable[[Any], Any]) -> Any:
        """TRL's, of rows that are looked through.

        Raises:
            ValueError: A row that is not understood, a column that is missing, or an unknown annotator.
        """
        where = f"the data set {name!r}"
        check_columns(self._spec, self.columns, self._used, data.first_of(dataset, where), where)
        dataset = data.prepared(dataset, self.columns, where)
        if annotators.COLUMN in self._used:
            self._check_annotators(dataset, where)
        made = trls(dataset)
        data.check_left(made, dataset, where, args.max_length)
        data.check_lists(made, self.columns, where)
        return made

    def _check_annotators(self, dataset: Any, where: str) -> None:
        """All of them, or the first of a stream."""
        whole = hasattr(dataset, "__len__")
        found = dataset[annotators.COLUMN] if whole else [next(iter(dataset))[annotators.COLUMN]]
        if self._annotators is None:
            for part in parts(self._spec):
                if annotators.COLUMN in columns_read(part)[0]:
                    annotators.check_rows(found, part, where)
        elif whole:
            annotators.rows(self._annotators, found, where)

    def loss_of(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        """The objective's mean over the batch, and the model's outputs if they are asked for."""
        mode = "train" if self.model.training else "eval"
        self.check_heads()
        place = self.place(model)
        scored, policy, trls, inputs = self._passed_through(model, inputs, return_outputs, self.known_reference(place))
        mask = inputs["completion_mask"]
        pairs = self.examples_here(len(mask) // 2)
        scored = scored.first(pairs)
        losses, loss = self.losses_of(scored, place)
        # What is left of TRL's loss is the load balancing of mixtures of experts.
        balance = trls[0] if return_outputs else trls
        per_token = (halves(policy.per_token(name, mask), pairs) for name in TOKEN_METRICS)
        totals = {LOSS: total(losses + balance), **self._measured(scored, *per_token)}
        self.count(mode, totals, inputs["attention_mask"].sum())
        loss = loss + balance * bool(len(losses))
        return (loss, trls[1]) if return_outputs else loss

    def first_pass(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Scored, Any]:
        """A scored micro-batch without a graph, and what `_reference` gave for it."""
        reference = self._reference(self.split(inputs)[1])
        return self._passed_through(model, inputs, False, reference)[0], reference

    def _passed_through(
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool, known: Any
    ) -> tuple[Any, ...]:
        """The scored batch, the recorded pass of the policy, what TRL made of it, and its inputs."""
        columns, inputs = self.split(inputs)
        reference, sums = self._reference(inputs) if known is None else known
        policy = Recorder(model)
        with installed():
            inputs = {**inputs, **dict(zip(("ref_chosen_logps", "ref_rejected_logps"), sums, strict=True))}
            trls = self.trls_loss(policy, inputs, return_outputs)
        mask = inputs["completion_mask"]
        scored = Scored(
            policy.per_token("log_probs", mask),
            mask[:, 1:].bool(),
            mask.sum(1),
            reference,
            columns,
            policy.per_token("log_sum_sq_probs", mask) if needs_collision(self._spec) else None,
        )
        return scored, policy, trls, inputs

    def _measured(self, scored: Scored, *per_token: torch.Tensor) -> dict[str, torch.Tensor]:
        """TRL's metrics, with the objective's rewards."""
        chosen, rejected = implicit_rewards(self._spec, scored)
        rewards = {
            "chosen": chosen,
            "rejected": rejected,
            "margins": chosen - rejected,
            "accuracies": chosen > rejected,
        }
        totals = {f"rewards/{name}": total(values) for name, values in rewards.items()}
        entropy, logits, top = per_token
        totals["entropy"] = total(entropy, scored.mask)
        totals["mean_token_accuracy"] = total(top.chunk(2)[0], scored.mask.chunk(2)[0])
        logps = scored.logps.where(scored.mask, torch.zeros_like(scored.logps)).sum(1)
        for i, side in enumerate(("chosen", "rejected")):
            totals[f"logps/{side}"] = total(logps.chunk(2)[i])
            totals[f"logits/{side}"] = total(logits.chunk(2)[i], scored.mask.chunk(2)[i])
        return totals

    def _reference(self, inputs: Mapping[str, Any]) -> tuple[torch.Tensor | None, Sequence[torch.Tensor]]:
        """Log-probs of the reference, per token or summed, and their sums for chosen and rejected."""
        if not self._reads_reference:
            pairs = len(inputs["input_ids"]) // 2
            return None, (torch.zeros(pairs, device=self.accelerator.device),) * 2
        if self.precompute_ref_logps:
            sums = (inputs["ref_chosen_logps"], inputs["ref_rejected_logps"])
            return torch.cat(sums), sums
        reference = Recorder(self.model if self.ref_model is None else self.ref_model)
        with as_prepared(self):
            sums = self.compute_ref_log_probs(reference, inputs)
        return reference.per_token("log_probs", inputs["completion_mask"]), sums
