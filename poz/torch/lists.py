"""From the token log-probs of lists of completions to the losses of any objective on lists, in any trainer.

The same for lists of K as `poz.torch.scored_losses` is for pairs: score the completions, make a `ScoredLists`, call
`list_losses`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz._nearest import meant
from poz.columns import list_columns
from poz.families import layout_of, named
from poz.objective import Objective
from poz.torch.scored import check_rows, parts, spec_of, wide
from poz.torch.whole_batch import whole_batch
from poz.zoo import zoo


class ScoredLists(NamedTuple):
    """Lists of completions after the forward pass: all of the first prompt, then all of the second, and so on.

    Attributes:
        logps: (rows, tokens) log-probs of the policy in nats.
        mask: (rows, tokens) true at completion tokens.
        sizes: How many completions each prompt has: one number for all, or (batch,) integers that add up to the rows.
        lengths: (rows,) tokens of each completion, or None where they are those of the mask; a first token of a row,
            which has no log-prob, may count.
        ref_logps: (rows, tokens) log-probs of the reference, or (rows,) their sums, or None.
        columns: What the data set says about each completion, (rows,) by the name of the field: `scores` of
            `poz.Ranked`, `winrates` and `anchor_logps` of `poz.Samples`.
    """

    logps: Tensor
    mask: Tensor
    sizes: int | Sequence[int] | Tensor
    lengths: Tensor | None = None
    ref_logps: Tensor | None = None
    columns: Mapping[str, Tensor] = {}

    def counts(self) -> list[int]:
        """How many completions each prompt has.

        Raises:
            TypeError: A size that is no integer.
            ValueError: One below 1, or sizes that do not add up to the rows.
        """
        rows = len(self.logps)
        if isinstance(self.sizes, int) and not isinstance(self.sizes, bool):
            if self.sizes < 1 or rows % self.sizes:
                raise ValueError(f"sizes={self.sizes} does not divide the {rows} rows into lists.")
            return [self.sizes] * (rows // self.sizes)
        found = self.sizes.tolist() if isinstance(self.sizes, Tensor) else self.sizes
        if not isinstance(found, Sequence) or not all(type(size) is int for size in found):
            raise TypeError(f"sizes must be integers, one for each prompt, or one for all; got {self.sizes!r}.")
        found = list(found)
        if min(found, default=1) < 1 or sum(found) != rows:
            raise ValueError(f"sizes must be 1 or more and add up to the {rows} rows; got {found}.")
        return found

    def first(self, lists: int) -> ScoredLists:
        """The first lists only."""
        found = self.counts()
        rows, width = sum(found[:lists]), max(found, default=2)
        cut: dict[str, Any] = {name: x[:rows] for name, x in self._asdict().items() if isinstance(x, Tensor)}
        cut |= {"sizes": found[:lists] or width, "columns": {name: x[:rows] for name, x in self.columns.items()}}
        return self._replace(**cut)

    def check(self) -> None:
        """Refuses what does not fit together.

        Raises:
            TypeError: One is no torch tensor, or log-probs are no floating-point numbers.
            ValueError: Of `logps`, `mask` and so on one has other rows or tokens, or the sizes do not add up to them.
        """
        fields = {name: x for name, x in self._asdict().items() if name not in ("sizes", "columns")}
        check_rows(fields, self.columns, "(rows, tokens), the completions of each prompt one after the other")
        for name, column in self.columns.items():
            if tuple(column.shape) != (len(self.logps),):
                raise ValueError(
                    f"The column {name!r} must have a number for each of the {len(self.logps)} completions; got "
                    f"{tuple(column.shape)}."
                )
        self.counts()


def list_losses(objective: str | Objective, scored: ScoredLists) -> Tensor:
    """The losses of scored lists under any objective on lists: what a trainer needs of poz.

    `poz.columns.list_columns` says which columns the objective reads. Lists of unequal length are padded, under the
    objective's own mask. With `scores`, a list of `poz.Ranked` is put in their order, best first, equal ones as they
    come; without them the completions must stand in order of preference. Where `poz.Samples` have no `anchor_logps`,
    the policy of the last iteration is the reference.

    Args:
        objective: A name, or an objective on `poz.Ranked` or `poz.Samples` with its hyper-parameters bound.
        scored: The lists of this process.

    Returns:
        (batch,), one loss for each list, in nats. Their mean is trained on; gradients reach `scored.logps`.

    Raises:
        TypeError: The objective reads no lists of completions, or what is scored is no tensor.
        ValueError: Rows, tokens, sizes or columns that do not fit together, a column that is missing or that nothing
            reads, lists of unequal length for an objective without a mask, scores that are NaN, or equal ones for an
            objective that reads an order.
    """
    spec = spec_of(zoo[objective] if isinstance(objective, str) else objective)
    made = list_batch(spec, scored)
    return whole_batch(spec, made) if spec.coupled else spec(made)


def list_batch(objective: Objective, scored: ScoredLists) -> Any:
    """The batch that `objective` is given, with the mask of its family where lists are of unequal length.

    Raises:
        TypeError, ValueError: As for `list_losses`.
    """
    name, layout, family = objective.name, layout_of(objective.family), objective.family
    if not (layout.lists and layout.tokens):
        raise TypeError(
            f"`{name}` reads {named(family)}, not lists of completions. Give an objective on poz.Ranked or poz.Samples, "
            "such as `pro`; poz.torch.scored_losses serves those on pairs."
        )
    scored.check()
    (side,) = layout.sides
    length, mask = layout.lengths.get(side), layout.masks.get(side)
    given = [field for field, (dims, _) in layout.shapes.items() if dims == "bk"]
    known = [field for field in given if field not in (side, f"ref_{side}", length, mask)]
    if unknown := [column for column in scored.columns if column not in known]:
        raise ValueError(
            f"{unknown[0]!r} is no column of lists that `{name}` may read; those are {', '.join(known)}."
            f"{meant(unknown[0], known)}"
        )
    if missing := [column for column in list_columns(objective) if column not in scored.columns]:
        raise ValueError(f"`{name}` reads the column {missing[0]!r}, which the scored lists do not have. Add it.")
    sizes = scored.counts()
    if len(set(sizes)) > 1 and mask not in objective.reads | objective.optional:
        raise ValueError(
            f"`{name}` takes lists of one length; got {min(sizes)} and {max(sizes)} completions. Leave the others out, or "
            "take an objective with a mask, such as `s_dpo` or `pro`."
        )
    sums = [None if x is None else _summed(x, scored.mask) for x in (scored.logps, scored.ref_logps)]
    rows: dict[str, Tensor | None] = {side: sums[0], f"ref_{side}": sums[1], **scored.columns}
    if length is not None:
        rows[length] = scored.mask.sum(1) if scored.lengths is None else scored.lengths
    for field in known:
        if layout.shapes[field][1] == "logp" and field in objective.reads:
            rows.setdefault(field, sums[1])
    width = scored.sizes if isinstance(scored.sizes, int) else max(sizes, default=2)
    places = _places(sizes, width, scored.logps.device)
    if layout.ranked and "scores" in rows:
        places = _best_first(objective, rows["scores"], places)
    valid = places >= 0
    laid = {field: None if x is None else x[places.clamp(min=0)] for field, x in rows.items()}
    if mask is not None and len(set(sizes)) > 1:
        laid[mask] = valid
    return family(**{field: x for field, x in laid.items() if field in family._fields})


def check_lists(objective: Objective, size: int, what: str) -> None:
    """Refuses an objective that lists of `size` completions cannot serve, before anything is trained.

    Raises:
        ValueError: It reads something else, or lists of another length.
    """
    try:
        objective(list_batch(objective, example_lists(objective, size)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error} It is given {what}.") from error


def example_lists(objective: Objective, size: int, times: int = 1, last: float = -3.0) -> ScoredLists:
    """A list with every column, best first, log-probs and lengths multiplied; the last completion's log-prob is `last`."""
    logps = torch.linspace(-1.0, -2.0, size)
    logps[-1] = last
    falling = torch.linspace(1.0, 0.0, size)
    return ScoredLists(
        times * logps[:, None],
        torch.ones(size, 1, dtype=torch.bool),
        size,
        lengths=times * torch.arange(2, 2 + size),
        ref_logps=times * torch.full((size,), -1.5),
        columns=dict.fromkeys(list_columns(objective), falling),
    )


def _summed(x: Tensor, mask: Tensor) -> Tensor:
    x = wide(x)
    return x if x.ndim == 1 else x.where(mask, torch.zeros_like(x)).sum(1)


def _places(sizes: Sequence[int], width: int, device: torch.device) -> Tensor:
    """(batch, width) the row of each completion, -1 where a list is shorter."""
    counts = torch.tensor(list(sizes), dtype=torch.long, device=device)
    within = torch.arange(width, device=device)
    return (
        (counts.cumsum(0) - counts)[:, None]
        .add(within)
        .where(within < counts[:, None], torch.tensor(-1, device=device))
    )


def _best_first(objective: Objective, scores: Any, places: Tensor) -> Tensor:
    """The rows of each list in order of their scores, equal ones as they come."""
    if scores.device.type == "cpu" and scores.isnan().any():
        raise ValueError(
            f"The scores must be numbers; that of completion {int(scores.isnan().nonzero()[0])} is NaN, which is neither better "
            "nor worse than another. Mend the list, or leave it out."
        )
    laid = scores[places.clamp(min=0)].double().masked_fill(places < 0, -torch.inf)
    laid, order = laid.sort(dim=1, descending=True, stable=True)
    places = places.gather(1, order)
    ordered = order_alone(objective)
    if ordered and laid.device.type == "cpu":
        equal = ((laid[:, 1:] == laid[:, :-1]) & (places[:, 1:] >= 0)).any(1)
        if equal.any():
            raise ValueError(
                f"`{ordered}` reads the order of a list alone, and list {int(equal.nonzero()[0])} has equal scores, which "
                "are none. Leave it out, or take an objective that reads scores, such as `lipo_lambda`."
            )
    return places


def order_alone(objective: Objective) -> str:
    """The objective, or that part of a combination, that knows a ranking by its order and not by scores; else ""."""
    found = (part.name for part in parts(objective) if layout_of(part.family).ranked and not list_columns(part))
    return next(found, "")
