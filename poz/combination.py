"""Weighted sums of objectives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import Any

from poz.backends import Array, Namespace
from poz.objective import Objective
from poz.zoo import zoo

Weight = float | Array


def combine(
    weights: Mapping[str, Weight] | Iterable[tuple[str | Objective, Weight]],
) -> Objective:
    """One objective that is a weighted sum of several, and reads what any of them reads.

        poz.combine({"dpo": 1.0, "sft": 0.2})
        poz.combine([(poz.dpo.bind(beta=0.3), 1.0), ("sft", per_example)])

    Args:
        weights: A weight for each objective, by name with its default hyper-parameters, or bound. A weight is a number,
            or an array (batch,) with one per example.

    Returns:
        An objective of the same family without hyper-parameters of its own: bind those of its parts.

    Raises:
        KeyError: An unknown name.
        ValueError: No objectives, or objectives of different families.
    """
    pairs = weights.items() if isinstance(weights, Mapping) else weights
    parts = [(zoo[key] if isinstance(key, str) else key, weight) for key, weight in pairs]
    families = {part.family.__name__ for part, _ in parts}
    if len(families) != 1:
        given = ", ".join(f"{part.name} ({part.family.__name__})" for part, _ in parts) or "none"
        raise ValueError(f"combine needs objectives of one family; got {given}.")
    reads = tuple(dict.fromkeys(name for part, _ in parts for name in part._required))
    coupled = ", ".join(part.coupled for part, _ in parts if part.coupled)
    optional = {name for part, _ in parts for name in part.optional} - set(reads)

    def function(xp: Namespace, batch: Any) -> Array:
        """The weighted sum of the parts."""
        return reduce(add, (weight * part(batch) for part, weight in parts))

    def joined(of: Callable[[Objective], str]) -> str:
        return " + ".join(of(part) for part, _ in parts)

    return Objective(
        name=joined(lambda part: part.name),
        title=joined(lambda part: part.title),
        paper=", ".join(part.paper for part, _ in parts),
        equation="weighted sum",
        formula=joined(lambda part: rf"w_{{\text{{{part.name}}}}}\Bigl({part.formula}\Bigr)"),
        family=parts[0][0].family,
        params=MappingProxyType({}),
        function=function,
        needs=lambda values: reads,
        may_read=tuple(sorted(optional)),
        couples=lambda values: coupled,
        values=MappingProxyType({}),
        _required=reads,
    )
