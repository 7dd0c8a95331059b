"""What the adapters of trainers have in common that call a loss with summed log-probs of pairs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from poz.columns import columns_read, needs_reference
from poz.objective import Base, Objective
from poz.torch.preference import PreferenceLoss
from poz.torch.scored import Scored, check_pairs, parts
from poz.torch.token_logps import bare, token_logps
from poz.zoo import zoo


def spoken(words: Sequence[str]) -> Objective:
    """The objective that words name, as in ["simpo", "beta=2", "gamma=1"].

    Raises:
        ValueError: There is no word, or one is no hyper-parameter with its value.
        TypeError: Another hyper-parameter than the objective has.
        poz.UnknownObjective: No objective of that name.
    """
    if not words:
        raise ValueError("An objective is needed, with its hyper-parameters, as in: simpo beta=2 gamma=1. Got none.")
    objective, values = zoo[words[0]], dict[str, Any]()
    for word in words[1:]:
        name, _, text = word.partition("=")
        if not (name and text) or name in values:
            raise ValueError(f"After `{objective.name}` come hyper-parameters, each once, as in beta=2; got {word!r}.")
        domain = objective.params[name].domain if name in objective.params else None
        values[name] = (
            text if domain is None else zoo.get(text, text) if isinstance(domain, Base) else domain.read(text)
        )
    return objective.bind(**values)


class PairLosses(PreferenceLoss):
    """Losses of (batch,), as a trainer wants that scales them, or adds a term of its own, before their mean.

    Args:
        trainer: Its name, for sentences.
        objective: A name or an objective.
        accumulation: Micro-batches per step.
        **params: Hyper-parameters.

    Raises:
        TypeError: No objective.
        ValueError: One that pairs do not serve or that reads columns, or micro-batches of a batch that it ties together.
    """

    def __init__(self, trainer: str, objective: str | Objective, accumulation: int = 1, **params: Any) -> None:
        super().__init__(objective, **params)
        self.trainer, name, columns = trainer, self.objective.name, columns_read(self.objective)[0]
        if columns:
            raise ValueError(
                f"`{name}` reads the column {columns[0]!r}, and {trainer} gives a loss no column of the data. Train it with "
                "poz.integrations.trl."
            )
        tied = [part for part in parts(self.objective) if part.coupled and "calibration" not in part.reads]
        if tied and accumulation > 1:
            raise ValueError(
                f"`{name}` is defined over the whole batch ({tied[0].coupled}), so gradient_accumulation_steps="
                f"{accumulation} would change it. Set 1."
            )

    def agree(self, told: Mapping[str, Any], names: Mapping[str, str], zero: Sequence[str] = ()) -> None:
        """Refuses what the trainer was told of its own loss and the objective does not do.

        Args:
            told: By the name of the setting.
            names: The hyper-parameter that a setting is; what is none is refused.
            zero: Settings of which 0 says nothing to an objective that has no such thing.

        Raises:
            ValueError: A setting that the objective has not, or has otherwise.
        """
        for setting, said in told.items():
            ours = self.objective.values.get(names.get(setting, ""))
            if said != ours and (said or ours or setting not in zero):
                raise ValueError(
                    f"{self.trainer} is told {setting}={said!r}, and trains {self.objective!r}. Leave that setting out."
                )

    def of(
        self, policy: Sequence[Tensor], reference: Sequence[Tensor | None], lengths: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses and rewards of chosen and rejected, each (batch,): where single completions have losses, a pair's mean."""
        losses, *rewards = self(*policy, *reference, chosen_len=lengths[0], rejected_len=lengths[1])
        return losses.unflatten(0, (-1, len(policy[0]))).mean(0), *rewards


def check_reference(objective: Any, model: Any, reference: Any) -> None:
    """Refuses what is no objective on pairs, and a reference that it does not read or that training would move.

    Raises:
        TypeError: No objective.
        ValueError: Pairs cannot serve it, or the reference is none.
    """
    if not isinstance(objective, Objective):
        raise TypeError(f"objective must be a name or a poz.Objective; got {type(objective).__name__}.")
    check_pairs(objective)
    if reference is not None and not needs_reference(objective):
        raise ValueError(f"`{objective.name}` reads no reference, but got a ref_model. Leave it out.")
    if reference is not None:
        check_two(model, reference)


def check_two(model: Any, reference: Any, how: str = "Load") -> None:
    """Refuses a reference that is the policy, or has parameters of it that are trained.

    Raises:
        ValueError: Names one.
    """
    fixed = {id(p) for p in reference.parameters()}
    for name, p in model.named_parameters():
        if p.requires_grad and id(p) in fixed:
            raise ValueError(
                f"ref_model has the parameter {name} of the policy itself, which is trained, and would move with it. {how} it a "
                "second time, or pass copy.deepcopy of the policy before its adapter."
            )


def score(objective: Objective, model: Any, reference: Any, batch: Mapping[str, Any]) -> Scored:
    """A batch of tokens, scored by `token_logps` under the policy, and under the reference where there is one.

    Args:
        objective: Says whether it reads a reference.
        model: The policy.
        reference: A frozen model, or None.
        batch: `input_ids`, `labels` and so on, (2 * batch, tokens), chosen rows first; `ref_logps` where no reference is
            given; columns by their names, (batch,).

    Raises:
        ValueError: No log-probs of a reference, or two; a column that neither the objective nor the model reads.
    """
    read = sum(columns_read(objective), ())
    columns, labels, ref = {x: batch[x] for x in read if x in batch}, batch["labels"], batch.get("ref_logps")
    given = {name: x for name, x in batch.items() if name not in ("labels", "ref_logps", *columns)}
    forward = bare(model).forward
    if unknown := sorted(given.keys() - inspect.signature(forward).parameters):
        raise ValueError(
            f"A batch has {', '.join(unknown)}, which neither `{objective.name}` nor {type(bare(model)).__name__} reads. Leave "
            "it out, or take an objective that reads it."
        )
    if ref is not None and reference is not None:
        raise ValueError("A batch has ref_logps, and there is a reference model too. Leave one of them out.")
    if reference is not None:
        with torch.no_grad():
            ref = token_logps(reference, labels, **given).logps
    if ref is None and needs_reference(objective, [*columns]):
        raise ValueError(f"`{objective.name}` reads a reference: give its model, or batches with ref_logps.")
    return Scored(*token_logps(model, labels, **given), ref_logps=ref, columns=columns)
