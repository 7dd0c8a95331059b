"""TRL's own RewardTrainer with any objective of poz on the scores of a reward model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from poz._agreement import agreement
from poz.algorithms.winrates import preference_scores
from poz.columns import columns_read
from poz.families import layout_of, named
from poz.integrations.trl import data
from poz.integrations.trl.columns import Columns
from poz.integrations.trl.metrics import LOSS, Counted, total
from poz.integrations.trl.models import check_given, check_reward_model, warn_of_frozen_head
from poz.integrations.trl.modes import disable_dropout
from poz.integrations.trl.seams import Seamed, any_width, reward_config, reward_trainer
from poz.integrations.trl.shared import by_name, check_columns, check_config, check_constant, folder, name_after
from poz.objective import Objective
from poz.torch.scored import SIDES, halves, spec_of
from poz.torch.whole_batch import whole_batch
from poz.zoo import zoo

Base: Any = reward_trainer.RewardTrainer


class RewardTrainer(Counted, Seamed, Base):  # type: ignore[misc]
    """TRL's RewardTrainer with one more argument, `objective`.

    Everything else is TRL's: the data formats, chat templates, PEFT, evaluation, mixed precision and the names of the
    metrics. The objective holds all hyper-parameters of the loss, so `center_rewards_coefficient` must stay None.

    * `label`, `margin`, `tie`, `strength`, `chosen_factors` and `rejected_factors` are columns of the data
      set; `poz.RewardPairs` says what each means. One of them that the objective does not read is refused. A gap of
      scores, `score_chosen` and `score_rejected`, is a margin only for an objective that must have one.
    * A model of several outputs, `num_labels=H`, is handed over as a model. Each output is a head, a pair of its own with
      the columns of the pair, and the loss of a pair is the mean over its heads. For an objective that reads embeddings
      the outputs are the embedding; then `accuracy` and `margin` are those of the score that
      `poz.algorithms.winrates.preference_scores` makes of it, and there are no rewards.
    * Scores in 16 bit are widened before the loss; TRL takes the loss in 16 bit. A score that is no finite number ends
      the training with an error.
    * A step is the mean over all pairs of its micro-batches and processes, whatever their sizes. TRL takes the mean of
      the means, in which a pair of a smaller micro-batch counts more.
    * `accuracy` is the share of pairs with chosen above rejected, or below where the `label` is under 1/2, of those that
      are neither a tie nor of a label of 1/2; what factors say has no part in it. `margin` is the mean of chosen minus
      rejected over all examples since the last log; `min_reward`, `mean_reward` and `max_reward` are over all of these
      scores, where TRL logs the mean of the batches' least and greatest ones.

    Args:
        model: As for TRL: a model for sequence classification, or the path of one.
        args: `trl.RewardConfig`.
        *others: The other arguments of TRL's RewardTrainer, in its order.
        objective: A name of `poz.zoo`, or an objective on `poz.RewardPairs` with its hyper-parameters bound.
        **kwargs: The other arguments by name.

    Raises:
        ValueError: The objective reads something else than a reward model and its data give, a column is missing or
            read by nobody, settings contradict each other, or the model has no scores.
        FloatingPointError: In training and evaluation, a score that is not finite.
        poz.UnknownObjective: No objective of that name.
    """

    data_collator: Any

    def __init__(
        self, model: Any, args: Any = None, *others: Any, objective: str | Objective = "bradley_terry", **kwargs: Any
    ) -> None:
        given = by_name(Base, model, args, *others, **kwargs)
        # `objective` is for callers; a search for hyper-parameters puts its own number there
        self.objective = self._objective = spec = spec_of(zoo[objective] if isinstance(objective, str) else objective)
        self._embeds = bool(check_scores(spec) & EMBEDDINGS)
        read = sum(columns_read(spec), ())
        first = self._given(given.get("train_dataset"), "the training data set")
        self._used = set(read) & set(first)
        self.columns = tuple(name for name in read if name in self._used)
        name_after(self, spec)
        args = given["args"] = reward_config.RewardConfig(folder(model, spec)) if args is None else args
        self._check(args, model, first)
        check_constant(spec, given)
        with nullcontext() if isinstance(model, str) else any_width(model):
            super().__init__(**given)
        if args.disable_dropout:
            disable_dropout(self.model)
        warn_of_frozen_head(self.model)
        self.data_collator = Columns(self.data_collator, self.columns)

    def _check(self, args: Any, model: Any, first: Mapping[str, Any]) -> None:
        spec = self._objective
        if "image" in first or "images" in first:
            raise ValueError(f"RewardTrainer with `{spec.name}` trains on text; the training data set holds images.")
        check_config(spec, args, {"center_rewards_coefficient": None})
        check_given(model, None, "AutoModelForSequenceClassification")
        outputs = (args.model_init_kwargs or {}).get("num_labels", 1) if isinstance(model, str) else 1
        if outputs != 1 or (isinstance(model, str) and self._embeds):
            raise ValueError(
                "TRL loads a path with num_labels=1. Load the model by AutoModelForSequenceClassification.from_pretrained("
                f"path, num_labels={'width of the embedding' if self._embeds else outputs}) and hand that over."
            )
        if not isinstance(model, str):
            check_reward_model(model)
        if spec.coupled and args.gradient_accumulation_steps > 1:
            raise ValueError(
                f"`{spec.name}` is defined over the whole batch ({spec.coupled}), so gradient_accumulation_steps="
                f"{args.gradient_accumulation_steps} would change it. Set 1, or use poz.torch.slopes in your own loop."
            )

    def prepare(self, dataset: Any, name: str, args: Any, trls: Callable[[Any], Any]) -> Any:
        """TRL's, of rows that are looked through.

        Raises:
            ValueError: A row that is not understood, or a column that is missing or that nobody reads.
        """
        where = f"the data set {name!r}"
        read = sum(columns_read(self._objective), ())
        check_columns(self._objective, read, self._used, self._given(dataset, where), where)
        dataset = data.prepared(dataset, self.columns, where)
        made = trls(dataset)
        data.check_left(made, dataset, where, args.max_length, data.TEXTS)
        data.check_lists(made, self.columns, where)
        return made

    def _given(self, dataset: Any, where: str) -> Mapping[str, Any]:
        """The columns of the first example; a gap of scores is no margin where the objective can do without one.

        Raises:
            ValueError: A column that an objective on rewards reads, and this one does not.
        """
        required, optional = columns_read(self._objective)
        first = data.first_of(dataset, where)
        here = {name for row in itertools.islice(dataset or (), 1) for name in row}
        for name, (_, content) in layout_of(self._objective.family).shapes.items():
            if name in here and content not in ("logp", "feature") and name not in (*required, *optional):
                raise ValueError(
                    f"{where} has the column {name!r}, which `{self._objective.name}` does not read. Give an objective that "
                    f"does, or remove the column: dataset.remove_columns({name!r})."
                )
        return {name: value for name, value in first.items() if name in here or name in required}

    def get_batch_samples(self: Any, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The micro-batches of a step, and how many pairs are in those of all processes."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        pairs = sum(len(one["input_ids"]) // 2 for one in samples)
        return samples, self.accelerator.gather(torch.tensor([pairs], device=device)).sum() // self.alike

    def compute_loss(
        self: Any,
        model: Any,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """The objective's mean over the batch, or its share of the mean over a step of `num_items_in_batch` pairs."""
        mode = "train" if self.model.training else "eval"
        columns = {name: inputs[name] for name in self.columns if name in inputs}
        outputs = model(**{name: x for name, x in inputs.items() if name not in columns}, use_cache=False)
        scores = self._checked(outputs.logits)
        pairs = self.examples_here(len(scores) // 2)
        scores, columns = halves(scores, pairs), {name: x[:pairs] for name, x in columns.items()}
        losses = reward_losses(self._objective, scores, columns)
        totals = {LOSS: total(losses), **self._measured(mode, scores.detach(), columns)}
        self.count(mode, totals, inputs["attention_mask"].sum())
        if num_items_in_batch is None or self._objective.coupled:
            loss = losses.mean() if len(losses) else losses.sum()
        else:  # the trainer divides by the micro-batches, and the processes take the mean of their gradients
            processes = self.accelerator.num_processes // self.alike
            loss = losses.sum() * (self.current_gradient_accumulation_steps * processes / num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def log(self: Any, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """TRL's, with the least and the greatest score since the last log."""
        metrics = self.logged["train" if self.model.training else "eval"]
        for name, of in (("min_reward", min), ("max_reward", max)):
            if metrics.get(name):
                metrics[name] = [of(metrics[name])]
        super().log(logs, *args, **kwargs)

    def _checked(self, scores: Tensor) -> Tensor:
        """(2 * batch, outputs) in float32 at least.

        Raises:
            ValueError: The model gives something else than a score for each row.
        """
        if scores.ndim != 2:
            raise ValueError(
                f"A reward model gives scores, (rows, num_labels); {type(self.model).__name__} gave {tuple(scores.shape)}. "
                "Load it by AutoModelForSequenceClassification."
            )
        if self._objective.coupled and not self._embeds and scores.shape[1] > 1:
            raise ValueError(
                f"`{self._objective.name}` is defined over the whole batch ({self._objective.coupled}), in which heads would be "
                f"mixed; got num_labels={scores.shape[1]}. Give a model of one."
            )
        return scores if scores.dtype == torch.float64 else scores.float()

    def _measured(self: Any, mode: str, scores: Tensor, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """TRL's metrics.

        Raises:
            FloatingPointError: A score that is not finite, on any process.
        """
        bad = (~scores.isfinite()).sum().to(scores)
        infinite = scores.new_tensor(math.inf)
        least, greatest = (scores.amin(), scores.amax()) if scores.numel() else (infinite, -infinite)
        found = self.accelerator.gather(torch.stack((least, greatest, bad))[None]).T.tolist()
        if sum(found[2]):
            raise FloatingPointError(
                f"{sum(found[2]):g} scores at step {self.state.global_step} are not finite. Look at the learning rate, at the "
                "weights, and at what 16 bit can hold."
            )
        if self._embeds:
            margin = preference_scores(torch.stack(scores.chunk(2), 1))[:, :1, 1]
        else:
            chosen, rejected = scores.chunk(2)
            margin = chosen - rejected
        label, tie = (columns[name][:, None] if name in columns else None for name in ("label", "tie"))
        right, known = agreement(margin, label, None if tie is None else tie.bool())
        measured = {"accuracy": total(right, known), "margin": total(margin)}
        if self._embeds:
            return measured
        self.logged[mode]["min_reward"].append(min(found[0]))
        self.logged[mode]["max_reward"].append(max(found[1]))
        return {**measured, "mean_reward": total(scores)}


SCORES, EMBEDDINGS = {"chosen", "rejected"}, {"chosen_embedding", "rejected_embedding"}


def check_scores(objective: Objective) -> set[str]:
    """The fields that the model's outputs fill.

    Raises:
        ValueError: `objective` is not on the scores of a reward model, or reads more than that.
    """
    name, layout = objective.name, layout_of(objective.family)
    if not layout.scores:
        others = not layout.tokens or (layout.lists and not layout.ranked)  # which no trainer of TRL's serves
        use = "" if others else " Use poz.integrations.trl.DPOTrainer, or KTOTrainer."
        raise ValueError(f"`{name}` reads {named(objective.family)}, and a reward model gives poz.RewardPairs.{use}")
    read = {field for field in objective.reads if layout.shapes[field][1] in ("logp", "feature")}
    if not (read <= SCORES or read <= EMBEDDINGS):
        raise ValueError(
            f"`{name}` reads {', '.join(sorted(read))}, and the outputs of a reward model are either scores or an embedding. "
            f"Call it in a loop of your own, as in poz.{name}(poz.RewardPairs(...))."
        )
    return read


def reward_losses(objective: Objective, scores: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
    """The losses of pairs, (batch,), of which a model has the outputs (2 * batch, outputs), chosen ones first."""
    layout, sides = layout_of(objective.family), scores.chunk(2)
    embeds = bool(objective.reads & EMBEDDINGS)
    heads = 1 if embeds else scores.shape[1]
    fields = {
        f"{side}_embedding" if embeds else side: x if embeds else x.flatten()
        for side, x in zip(SIDES, sides, strict=True)
    }
    for name, column in columns.items():  # the columns of a pair are those of each of its heads
        column = column.bool() if layout.shapes[name][1] == "mask" else column
        fields[name] = column.repeat_interleave(heads, 0)
    batch = objective.family(**fields)
    losses = whole_batch(objective, batch) if objective.coupled else objective(batch)
    return losses.unflatten(0, (-1, heads)).mean(1) if heads > 1 else losses
