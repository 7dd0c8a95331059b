"""Objectives that tie a batch together, over all micro-batches of an optimiser step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz.counts import Counts
from poz.families import layout_of
from poz.objective import Objective
from poz.torch.scored import Scored, family_batch, parts, scored_losses
from poz.torch.whole_batch import slopes

HOW = ("whole", "micro_batch")
"""What an objective that ties a batch together sees in training: the batch of an optimiser step, or of a micro-batch."""


def tied(objective: Objective) -> bool:
    """Whether more ties a batch together than its counts, which are known before anything is computed."""
    try:
        objective.within(Counts(1, 1, 0))
    except ValueError:
        return True
    return False


def ties(objective: Objective) -> list[Objective]:
    """The parts that tie a batch together so that the mean over micro-batches is another one.

    Of calibration samples, which are completions of the batch, it is not.
    """
    return [part for part in parts(objective) if part.coupled and "calibration" not in part.reads]


class _Passed(NamedTuple):
    """What a first pass over all micro-batches found."""

    references: list[Any]
    losses: list[Tensor]
    slopes: list[Any]


class Accumulated:
    """A trainer of pairs whose objective sees the batch of an optimiser step; it defines `first_pass`.

    What counts tell (a mean over the tokens of the batch) is counted before anything is computed. Where more is needed, all
    micro-batches are scored without a graph, the objective's slopes are taken on all of them, and each goes backward with
    its own: one more forward pass of the policy, and the same loss and gradient as in one batch.
    """

    _objective: Any
    _spec: Objective
    _calibration: str
    _whole = False
    _parts: Sequence[Any] = ()
    _place = 0
    _passed: _Passed | None = None

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """transformers': the micro-batches of an optimiser step, which are kept."""
        made = super().get_batch_samples(*args, **kwargs)  # type: ignore[misc]
        self._parts, self._place, self._passed = made[0], 0, None
        return made

    def first_pass(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Scored, Any]:
        """A scored micro-batch without a graph, and the reference's log-probs as the second pass takes them."""
        raise NotImplementedError

    def place(self: Any, model: Any) -> int | None:
        """Which micro-batch of the step this is, where the objective sees all of them; else None."""
        if not (self._whole and self.model.training and self._place < len(self._parts)):
            return None
        if self._passed is None and tied(self._spec):
            with torch.no_grad():
                found = [self.first_pass(model, self.placed(one)) for one in self._parts]
            made = [family_batch(self._spec, scored, calibration=self._calibration) for scored, _ in found]
            losses, slope = slopes(self._spec, _joined(made))
            shares = _shares(slope, made)
            self._passed = _Passed(
                [known for _, known in found], list(torch.split(losses, [_rows(one) for one in made])), shares
            )
        self._place += 1
        return int(self._place - 1)

    def losses_of(self: Any, scored: Scored, place: int | None) -> tuple[Tensor, Tensor]:
        """The losses of a micro-batch, and what of the loss of the step it contributes, times the number of micro-batches."""
        if place is None:
            losses = scored_losses(self._objective, scored, calibration=self._calibration)
            return losses, losses.mean() if len(losses) else losses.sum()
        made = family_batch(self._spec, scored, calibration=self._calibration)
        if self._passed is None:
            here = sum((Counts.of(one["completion_mask"].chunk(2)[0]) for one in self._parts), Counts(0, 0, 0))
            whole = self.accelerator.reduce(torch.tensor(here, device=scored.logps.device), reduction="sum")
            losses = self._spec.within(Counts(*whole.tolist()))(made)
            share = self.accelerator.num_processes * len(self._parts) / whole[0].item()
            return losses, losses.sum() * share
        losses, slope = self._passed.losses[place], self._passed.slopes[place]
        moved = sum((g * getattr(made, name)).sum() for name, g in slope._asdict().items() if g is not None)
        mean = losses.sum() / sum(map(len, self._passed.losses))
        return losses, len(self._parts) * (mean + moved - moved.detach())

    def known_reference(self, place: int | None) -> Any:
        """The reference's log-probs of a micro-batch, where a first pass has them."""
        return None if place is None or self._passed is None else self._passed.references[place]


def _joined(made: list[Any]) -> Any:
    """One batch of those of all micro-batches."""
    fields = {name: [getattr(one, name) for one in made] for name in type(made[0])._fields}
    whole = {name: torch.cat(values, _axis(made[0], name)) for name, values in fields.items() if values[0] is not None}
    return type(made[0])(**whole)


def _shares(whole: Any, made: list[Any]) -> list[Any]:
    """Of a gradient in all of them that of each."""
    cut = {}
    for name, gradient in whole._asdict().items():
        if gradient is not None:
            axis = _axis(whole, name)
            cut[name] = gradient.split([getattr(one, name).shape[axis] for one in made], axis)
    return [
        type(whole)(**{**dict.fromkeys(whole._fields), **{name: c[i] for name, c in cut.items()}})
        for i in range(len(made))
    ]


def _axis(batch: Any, name: str) -> int:
    dims = layout_of(type(batch)).shapes[name][0]
    return dims.index("b") if "b" in dims else 0


def _rows(batch: Any) -> int:
    (side, *_) = layout_of(type(batch)).sides
    return int(getattr(batch, side).shape[0])
