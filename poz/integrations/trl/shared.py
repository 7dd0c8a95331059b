"""What the trainers for TRL have in common."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.fsdp import FullyShardedDataParallel

from poz import columns
from poz.integrations.trl.head import installed
from poz.integrations.trl.seams import Referred
from poz.objective import Objective
from poz.torch.head.probe import evaluating
from poz.torch.scored import parts


class Headed:
    """A trainer that looks whether its models' heads stay what they were when it was made."""

    def remember_heads(self: Any) -> None:
        """Keeps what the log-probs of policy and reference are made by, which was compared with the models' logits."""
        models = {"the policy": self.model, "ref_model": self.ref_model}
        self._heads = {name: head_of(model) for name, model in models.items() if model is not None}

    def check_heads(self: Any) -> None:
        """Looks whether that is what it was.

        Raises:
            ValueError: A head that is another module or has another forward pass, or a configuration with another scale.
        """
        if self.accelerator.mixed_precision == "fp8":
            return  # for which accelerate exchanges linear layers itself
        for name, model in (("the policy", self.model), ("ref_model", self.ref_model)):
            before = self._heads.get(name)
            if before is None or model is None:
                continue
            head, forward, scales = head_of(model)
            what = "another module" if head is not before[0] else "" if forward == before[1] else "another forward pass"
            if scales != before[2]:
                differing = sorted(key for key in {*scales, *before[2]} if scales.get(key) != before[2].get(key))
                what = f"another {differing[0]} in its configuration"
            if what:
                raise ValueError(
                    f"The head of {name}, a `{model.config.model_type}`, got {what} after the trainer was made, which has "
                    "compared and taken the one of then. Change the model before, and make the trainer of what it is."
                )


class Shared(Headed, Referred):
    """A trainer whose reference is scored by poz's head and without dropout."""

    def compute_ref_log_probs(self: Any, model: Any, inputs: Mapping[str, Any]) -> Any:
        """TRL's: summed log-probs of the reference, for chosen and rejected, or for completions and KL samples."""
        with installed(), evaluating(self.model if self.ref_model is None else self.ref_model):
            return super().compute_ref_log_probs(model, self.split(inputs)[1])

    def split(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The columns of a batch, and the rest, which is TRL's."""
        found = {name: inputs[name] for name in self.columns if name in inputs}
        return found, {name: value for name, value in inputs.items() if name not in found}

    @contextmanager
    def cache_key(self: Any) -> Iterator[tuple[Any, ...]]:
        """Keeps precomputed log-probs apart from TRL's, and from those of poz that another setting makes.

        That is the configurations of the model and its adapters, the head, the precision, and where the collator cuts.
        """
        model = self.accelerator.unwrap_model(self.model if self.ref_model is None else self.ref_model)
        configs = [model.config, *getattr(model, "peft_config", {}).values()]
        collator = getattr(self.data_collator, "collator", self.data_collator)
        cut = [getattr(collator, name, None) for name in ("max_length", "truncation_mode")]
        with installed() as head:
            how = ("poz, in eval mode", head.settings["precision"], self.accelerator.mixed_precision, *cut)
            yield (*how, *(config.to_dict() for config in configs))


def head_of(model: Any) -> tuple[Any, Any, dict[str, Any]]:
    """A model's head, a forward pass that somebody has put on it, and what its configuration says of logits."""
    head = model.get_output_embeddings()
    head = head.module if isinstance(head, FullyShardedDataParallel) else head
    config = vars(model.config.get_text_config())
    scales = {"output_multiplier", "lm_head_multiplier"}
    named = (name for name in config if name in scales or ("logit" in name and "router" not in name))
    return head, vars(head).get("forward"), {name: config[name] for name in named if config[name] is not None}


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


def check_columns(
    objective: Objective, read: Sequence[str], used: set[str], first: Mapping[str, Any], where: str
) -> None:
    """Refuses a data set that lacks a column, or has others of the objective's columns than that for training."""
    columns.check_columns(objective, list(first), where)
    differing = sorted(used ^ (set(read) & set(first)))
    if differing:
        raise ValueError(
            f"`{objective.name}` uses the column {differing[0]!r} where it is there, so it must be in the training data set "
            f"and in {where}, or in neither; otherwise another loss would be measured."
        )


def name_after(trainer: Any, objective: Objective) -> None:
    """What TRL writes into the model's tags and card, which has room for one paper: a combination has none."""
    preprint = objective.paper.removeprefix("arXiv:")
    found = parts(objective)
    has_one = preprint != objective.paper and len(found) == 1
    paper = {"title": objective.title, "id": preprint} if has_one else {}
    trainer.label(["trl", "poz", *(part.name for part in found)], objective.title, paper)


def folder(model: Any, objective: Objective) -> str:
    """Where the outputs go if nothing is said."""
    name = model if isinstance(model, str) else getattr(getattr(model, "config", None), "_name_or_path", None) or ""
    return "-".join((name.rsplit("/", 1)[-1] or "model", *(part.name for part in parts(objective))))


def check_config(objective: Objective, args: Any, defaults: Mapping[str, Any]) -> None:
    """Refuses settings of TRL's own loss, and transformers' smoothing, which all of TRL's trainers leave aside."""
    for field, default in {**defaults, "label_smoothing_factor": 0.0}.items():
        if getattr(args, field) != default:
            raise ValueError(
                f"{type(args).__name__}({field}={getattr(args, field)!r}) sets TRL's own loss, which "
                f"`{objective.name}` replaces. Leave it {default!r} and give the objective its hyper-parameters, as in "
                f"{objective!r}."
            )


def check_constant(objective: Objective, given: Mapping[str, Any]) -> None:
    """Refuses a hyper-parameter that wants to learn and that no optimiser moves.

    Raises:
        ValueError: A tensor that requires a gradient, and is not in the optimiser among the arguments of a trainer.
    """
    optimizer = (given.get("optimizers") or (None,))[0]
    moved = {id(p) for group in getattr(optimizer, "param_groups", ()) for p in group["params"]}
    for part in parts(objective):
        for name, value in part.values.items():
            if getattr(value, "requires_grad", False) and id(value) not in moved:
                raise ValueError(
                    f"`{part.name}` is given {name} as a tensor that requires a gradient, and the trainer's optimiser does not "
                    "know of it. Bind a number, or pass optimizers=(yours, None) with one that has it among its parameters."
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
