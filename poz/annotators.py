"""Who labelled each pair: ids of any kind, as the rows of a table of reliabilities."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from poz.objective import Objective

COLUMN = "annotator"


def numbered(dataset: Any, where: str) -> dict[Hashable, int]:
    """A row for each annotator of a data set, in the order of their ids, or of appearance where they have none.

    Raises:
        ValueError: A data set that is streamed, an annotator that is missing, or one that is no id.
    """
    if not hasattr(dataset, "__len__"):
        raise ValueError(
            f"{where} is streamed, so the annotators of its column {COLUMN!r} cannot be counted beforehand. Number them "
            "from 0 and give objective=poz.torch.LCPO(num_annotators=...)."
        )
    seen: dict[Hashable, int] = {}
    for row, annotator in enumerate(dataset[COLUMN]):
        if not isinstance(annotator, str | int | float) or annotator != annotator:
            raise ValueError(
                f"The column {COLUMN!r} of {where} must hold an id for whoever labelled the pair, a number or a text; "
                f"row {row} holds {annotator!r}."
            )
        seen.setdefault(annotator, row)
    names: Iterable[Any] = seen
    with suppress(TypeError):  # ids of several kinds have no order
        names = sorted(seen)
    return {name: number for number, name in enumerate(names)}


def rows(known: Mapping[Hashable, int], annotators: Iterable[Hashable], where: str) -> list[int]:
    """The row of each.

    Raises:
        ValueError: One who is not known.
    """
    found = []
    for annotator in annotators:
        if annotator not in known:
            raise ValueError(
                f"The annotator {annotator!r} of {where} labelled no pair of the training data, so nothing is known of "
                "their reliability. Leave their pairs out."
            )
        found.append(known[annotator])
    return found


def count(objective: Objective) -> int | None:
    """How many annotators an objective has numbers for, or None where it does not say."""
    reliability = objective.values.get("reliability")
    if getattr(reliability, "ndim", 0):
        return len(reliability)  # type: ignore[arg-type]
    groups = [name for name, param in objective.params.items() if getattr(param.domain, "per", "") == "group"]
    return len(objective.values[groups[0]]) if groups else None


def check_rows(annotators: Iterable[Any], objective: Objective, where: str) -> None:
    """Refuses ids that are no rows of the objective's numbers.

    Raises:
        ValueError: One that is no whole number from 0, or one too large.
    """
    known = count(objective)
    for row, annotator in enumerate(annotators):
        whole = isinstance(annotator, int | float) and annotator == annotator and annotator == int(annotator)
        if not whole or annotator < 0 or (known is not None and annotator >= known):
            to = "" if known is None else f" to {known - 1}"
            raise ValueError(
                f"{where}, row {row}: `{objective.name}` got the annotator {annotator!r}, and takes a whole number from 0{to} "
                f"in the column {COLUMN!r}. Number them; or give objective='lcpo_em', which learns how reliable ids of any kind "
                "are."
            )
