"""TRL's own DPOTrainer with any objective of poz that pairs can serve.

from poz.integrations.trl import DPOTrainer

DPOTrainer(model=..., objective="simpo", args=DPOConfig(...), train_dataset=...).train()
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import trl
from packaging.version import Version
from transformers import TrainerCallback
from trl.trainer import dpo_config, dpo_trainer

from poz.families import TokenPairs
from poz.integrations import annotators, batches, data
from poz.integrations.trl_head import install as install
from poz.integrations.trl_head import installed
from poz.integrations.trl_head import uninstall as uninstall
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
from poz.torch.lcpo import LCPO
from poz.torch.whole_batch import whole_batch
from poz.zoo import zoo

if Version(trl.__version__) < Version("1.16"):
    raise ImportError(
        f"poz.integrations.trl needs trl >= 1.16, whose fused LM head it replaces; found {trl.__version__}."
    )

Base: Any = dpo_trainer.DPOTrainer
TOKEN_METRICS = ("entropy", "mean_logits", "is_top1")
"""What TRL's head computes beside log-probs."""
STATE = "objective.pt"
"""The file of a checkpoint that holds the state of an objective that has one."""
RELIABILITY = "reliability.json"
"""The file beside a saved model that says how reliable LCPO found each annotator."""


class DPOTrainer(Counted, Base):  # type: ignore[misc]
    """TRL's DPOTrainer with one more argument, `objective`.

    Everything else is TRL's: the data formats, PEFT, precomputed reference log-probs, gradient accumulation (the mean
    of the micro-batches), evaluation, mixed precision and the names of the metrics. Token log-probs are computed by
    `poz.torch.linear_logps` (see `poz.integrations.trl_head`). The objective
    takes the place of `loss_type` and holds all hyper-parameters of the loss, so those of DPOConfig (`beta`,
    `label_smoothing`, ...) must stay at their defaults.

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
        objective: A name of `poz.zoo`, an objective with its hyper-parameters bound, such as
            `poz.simpo.bind(beta=2.5)`, or a `poz.torch.LCPO`, whose reliabilities then move once for each optimiser
            step, not in evaluation, and are saved with each checkpoint. "lcpo", "lcpo_em" and "re_po" are names of
            LCPO-EM: they make one, over DPO, with a reliability for each id, of any kind, in the column `annotator`, or
            one for all where there is no such column. Reliabilities are logged as `reliability/ID` (of more than 50
            annotators their least, mean and greatest) and saved beside the model as `reliability.json`. `poz.lcpo`
            itself is the loss at the reliability that it is given.
        calibration: The calibration samples of VPO: the batch's "chosen" completions (the usual choice offline, where
            it goes with `sign=-1`), the "rejected" ones, or "both".
        *others: The other arguments of TRL's DPOTrainer, in its order.
        **kwargs: The same by name.

    Raises:
        ValueError: Pairs cannot serve the objective, a column that it must find is missing, settings contradict each
            other, or the model's head does more than multiply its last hidden states.
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
        objective: str | Objective | LCPO = "dpo",
        calibration: str = "chosen",
        **kwargs: Any,
    ) -> None:
        given = by_name(Base, model, ref_model, args, *others, **kwargs)
        self._annotators: dict[Any, int] | None = None
        if isinstance(objective, str):
            objective = self._named(objective, given.get("train_dataset"))
        # `objective` is for callers; a search for hyper-parameters puts its own number there
        self.objective = self._objective = objective
        self._spec = spec_of(self._objective)
        batches.check(self._spec)
        if calibration not in batches.CALIBRATION:
            raise ValueError(f"calibration must be one of {batches.CALIBRATION}; got {calibration!r}.")
        self._calibration = calibration
        self._columns = sum(batches.columns_read(self._spec), ())
        name_after(self, self._spec)
        args = given["args"] = dpo_config.DPOConfig(folder(model, self._spec)) if args is None else args
        first = data.first_of(given.get("train_dataset"), "the training data set")
        self._used = set(self._columns) & set(first)
        self._reads_reference = batches.needs_reference(self._spec, list(first))
        self._check(args, ref_model, first)
        precompute = args.precompute_ref_log_probs and self._reads_reference
        collision = batches.needs_collision(self._spec)  # asked for, so that TRL's head computes it
        reference = policy_is_reference(self, dpo_trainer, given, read=self._reads_reference)
        with changed(args, precompute_ref_log_probs=precompute, use_weighting=collision), installed(), reference:
            super().__init__(**given)
        if args.disable_dropout:
            disable_dropout(self.model)
        self.loss_types = self.loss_weights = ()  # so TRL's own loss is 0
        self.data_collator = batches.Columns(self.data_collator, self._columns, self._annotators)
        if isinstance(self._objective, LCPO):
            self._objective.to(self.accelerator.device)
            self.add_callback(_Stateful(self._objective))

    def _named(self, name: str, dataset: Any) -> Objective | LCPO:
        """The objective of a name; of LCPO, what learns the reliabilities of the data's annotators."""
        objective = zoo[name]
        if objective.name != "lcpo":
            return objective
        if dataset is None or annotators.COLUMN not in data.first_of(dataset, "the training data set"):
            return LCPO()
        self._annotators = annotators.numbered(data.plain(dataset), "the training data set")
        return LCPO(num_annotators=len(self._annotators))

    def _check(self, args: Any, ref_model: Any, first: Mapping[str, Any]) -> None:
        name = self._spec.name
        if "image" in first or "images" in first:
            raise ValueError(f"poz's DPOTrainer with `{name}` trains on text; the training data set holds images.")
        check_config(self._spec, args, _TRL_LOSS)
        # Calibration samples are completions of the batch, whose mean over micro-batches is that over all of them.
        coupled = [part for part in batches.parts(self._spec) if part.coupled and "calibration" not in part.reads]
        if coupled and args.gradient_accumulation_steps > 1:
            raise ValueError(
                f"`{name}` is defined over the whole batch ({self._spec.coupled}), so gradient_accumulation_steps="
                f"{args.gradient_accumulation_steps} would change it. Set 1, or use poz.torch.slopes in your own loop."
            )
        if self._reads_reference and args.precompute_ref_log_probs and self._spec.family is TokenPairs:
            raise ValueError(
                f"`{name}` reads reference log-probs per token; precompute_ref_log_probs=True keeps only their sums. "
                "Set it False."
            )
        if not self._reads_reference and ref_model is not None:
            raise ValueError(f"`{name}` reads no reference, but got a ref_model. Leave it out.")
        if not self._reads_reference and args.sync_ref_model:
            raise ValueError(f"`{name}` reads no reference, but got sync_ref_model=True. Leave it False.")

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        where = f"the data set {dataset_name!r}"
        check_columns(self._spec, self._used, data.first_of(dataset, where), where)
        dataset = data.prepared(dataset, self._columns, where)
        if self._annotators is not None and hasattr(dataset, "__len__"):
            annotators.rows(self._annotators, dataset[annotators.COLUMN], where)
        made = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        data.check_left(made, dataset, where, args.max_length)
        data.check_lists(made, self._columns, where)
        return made

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns = list(dict.fromkeys((*self._signature_columns, *self._columns)))

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        with own_cache(self):
            return super()._precompute_ref_logps(dataset, name, batch_size)

    def compute_ref_log_probs(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """TRL's: summed log-probs of the reference for chosen and for rejected, each (batch,)."""
        with installed(), evaluating(self.model if self.ref_model is None else self.ref_model):
            return super().compute_ref_log_probs(model, self._split(inputs)[1])

    def _split(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        columns = {name: inputs[name] for name in self._columns if name in inputs}
        return columns, {name: value for name, value in inputs.items() if name not in columns}

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        mode, trained = "train" if self.model.training else "eval", self._total_train_tokens
        columns, inputs = self._split(inputs)
        reference, sums = self._reference(inputs)
        policy = Recorder(model)
        with no_reference_pass(self), installed():
            inputs = {**inputs, **dict(zip(("ref_chosen_logps", "ref_rejected_logps"), sums, strict=True))}
            trls = super()._compute_loss(policy, inputs, return_outputs)
        self._total_train_tokens = trained
        mask = inputs["completion_mask"]
        scored = batches.Scored(
            policy.per_token("log_probs", mask),
            mask[:, 1:].bool(),
            mask.sum(1),
            reference,
            columns,
            policy.per_token("log_sum_sq_probs", mask) if batches.needs_collision(self._spec) else None,
        )
        pairs = self.examples_here(len(mask) // 2)
        scored = scored.first(pairs)
        made = batches.batch(self._spec, scored, calibration=self._calibration)
        losses = whole_batch(self._spec, made) if self._spec.coupled else self._objective(made)
        # What is left of TRL's loss is the load balancing of mixtures of experts.
        losses = losses + (trls[0] if return_outputs else trls)
        per_token = (batches.halves(policy.per_token(name, mask), pairs) for name in TOKEN_METRICS)
        self.count(mode, {LOSS: total(losses), **self._measured(scored, *per_token)}, inputs["attention_mask"].sum())
        loss = losses.mean() if len(losses) else losses.sum()
        return (loss, trls[1]) if return_outputs else loss

    def _measured(self, scored: batches.Scored, *per_token: torch.Tensor) -> dict[str, torch.Tensor]:
        """TRL's metrics, with the objective's rewards."""
        chosen, rejected = batches.implicit_rewards(self._spec, scored)
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

    def _reliabilities(self) -> dict[Any, float]:
        """Of each annotator by their id; of all of them by None where they are not known."""
        if not isinstance(self._objective, LCPO):
            return {}
        found = self._objective.reliability.tolist()
        alone = len(found) == 1 and annotators.COLUMN not in self._used
        names = [None] if alone else range(len(found)) if self._annotators is None else self._annotators
        return dict(zip(names, found, strict=True))

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """TRL's, with the reliabilities that LCPO has found so far."""
        found = self._reliabilities() if "loss" in logs else {}
        if len(found) > 50:
            numbers = list(found.values())
            found = {"min": min(numbers), "mean": sum(numbers) / len(numbers), "max": max(numbers)}
        named = {"reliability" if name is None else f"reliability/{name}": value for name, value in found.items()}
        logs.update(named)  # the caller's own, which TRL adds its metrics to
        super().log(logs, *args, **kwargs)

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        """TRL's, with the reliabilities that LCPO has found, in `reliability.json`."""
        super().save_model(output_dir, *args, **kwargs)
        if isinstance(self._objective, LCPO) and self.args.should_save:
            found = [{"annotator": name, "reliability": value} for name, value in self._reliabilities().items()]
            with open(os.path.join(output_dir or self.args.output_dir, RELIABILITY), "w", encoding="utf-8") as file:
                json.dump(found, file, indent=1, ensure_ascii=False, default=str)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if isinstance(self._objective, LCPO) and self.args.should_save:
            checkpoint = os.path.join(self._get_output_dir(trial), f"checkpoint-{self.state.global_step}")
            os.makedirs(checkpoint, exist_ok=True)
            state = {**self._objective.state_dict(), "annotators": self._annotators and list(self._annotators)}
            torch.save(state, os.path.join(checkpoint, STATE))
        super()._save_checkpoint(model, trial)  # last, as it uploads the checkpoint and deletes old ones

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self._load_state(checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        self._load_state(self.state.best_model_checkpoint)

    def _load_state(self, checkpoint: str) -> None:
        if not isinstance(self._objective, LCPO):
            return
        path = os.path.join(checkpoint, STATE)
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"{checkpoint} has no {STATE}, the state of the objective; it is no checkpoint of one."
            )
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            saved, known = state.pop("annotators", None), self._annotators and list(self._annotators)
        except Exception as error:  # torch's own have no kind in common
            raise ValueError(
                f"{path} is not the state of an objective, or is damaged. Resume from another one."
            ) from error
        if saved != known:
            raise ValueError(f"{path} has the reliabilities of the annotators {saved}; the training data have {known}.")
        self._objective.load_state_dict(state)


class Recorder:
    """A model that keeps the first output that TRL asks of it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.output: Any = None

    def __call__(self, **inputs: Any) -> Any:
        """The model's output."""
        output = self.model(**inputs)
        self.output = output if self.output is None else self.output
        return output

    def per_token(self, name: str, completion_mask: torch.Tensor) -> torch.Tensor:
        """(rows, tokens - 1); prompt learning puts virtual tokens before the real ones."""
        return getattr(self.output, name)[:, 1 - completion_mask.size(1) :]  # type: ignore[no-any-return]


class _Stateful(TrainerCallback):
    """Moves the state of an objective with the optimiser."""

    def __init__(self, objective: LCPO) -> None:
        self.objective = objective

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.objective.step()


def spec_of(objective: Objective | LCPO) -> Objective:
    """The objective itself, or the one that an `LCPO` stands for."""
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, LCPO):
        bound = zoo["lcpo"].bind(base=objective.base, mode=objective.mode)
        return bound.bind(reliability=objective.reliability) if len(objective.reliability) > 1 else bound
    raise TypeError(f"objective must be a name, a poz.Objective or a poz.torch.LCPO; got {type(objective).__name__}.")


def check_columns(objective: Objective, used: set[str], first: Mapping[str, Any], where: str) -> None:
    """Refuses a data set that lacks a column, or has others of the objective's columns than that for training."""
    batches.check_columns(objective, list(first), where)
    differing = sorted(used ^ (set(sum(batches.columns_read(objective), ())) & set(first)))
    if differing:
        raise ValueError(
            f"`{objective.name}` uses the column {differing[0]!r} where it is there, so it must be in the training data set "
            f"and in {where}, or in neither; otherwise another loss would be measured."
        )


def name_after(trainer: Any, objective: Objective) -> None:
    """What TRL writes into the model's tags and card, which has room for one paper: a combination has none."""
    preprint = objective.paper.removeprefix("arXiv:")
    parts = batches.parts(objective)
    has_one = preprint != objective.paper and len(parts) == 1
    trainer._tag_names = ["trl", "poz", *(part.name for part in parts)]
    trainer._name = objective.title
    trainer._paper = {"title": objective.title, "id": preprint} if has_one else {}


def folder(model: Any, objective: Objective) -> str:
    """Where the outputs go if nothing is said."""
    name = model if isinstance(model, str) else getattr(getattr(model, "config", None), "_name_or_path", None) or ""
    return "-".join((name.rsplit("/", 1)[-1] or "model", *(part.name for part in batches.parts(objective))))


def check_config(objective: Objective, args: Any, defaults: Mapping[str, Any]) -> None:
    """Refuses settings of TRL's own loss."""
    for field, default in defaults.items():
        if getattr(args, field) != default:
            raise ValueError(
                f"{type(args).__name__}({field}={getattr(args, field)!r}) sets TRL's own loss, which "
                f"`{objective.name}` replaces. Leave it {default!r} and give the objective its hyper-parameters, as in "
                f"{objective!r}."
            )


def by_name(trainer: type, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of a trainer of TRL by their names, however they were given."""
    return inspect.signature(trainer).bind_partial(*args, **kwargs).arguments


@contextmanager
def changed(args: Any, **fields: Any) -> Iterator[None]:
    """Changes fields of the caller's configuration for the time of a with-block; TRL keeps that very object."""
    before = {name: getattr(args, name) for name in fields}
    try:
        for name, value in fields.items():
            setattr(args, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(args, name, value)


_TRL_LOSS = {
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
"""The fields of DPOConfig that the objective replaces, with their defaults."""
