"""Weighted sums of objectives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from poz import terms
from poz.backends import Array, Namespace, namespace
from poz.counts import Counts
from poz.domains import NUMBERS
from poz.families import Pairs, layout_of, named
from poz.families._of_pairs import MADE, alone, list_of, read_of_pairs
from poz.objective import Described, Objective, holds_arrays, tracing
from poz.zoo import zoo

if TYPE_CHECKING:
    from poz.families import B, Batch

Weight = float | Array


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Combination(Objective):
    """What `combine` makes: bound objectives and their weights."""

    parts: tuple[tuple[Objective, Weight], ...]

    if TYPE_CHECKING:  # it has no hyper-parameters of its own

        def __call__(self, batch: Batch[B], /) -> B: ...  # type: ignore[override]  # noqa: D102
        def bind(self) -> Combination: ...  # type: ignore[override]  # noqa: D102

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(
            self, "_deep", any(holds_arrays(part) or hasattr(weight, "dtype") for part, weight in self.parts)
        )

    def within(self, whole: Counts) -> Objective:
        """See `Objective.within`; of all parts."""
        if not self.coupled:
            return super().within(whole)
        return combine([(part.within(whole), weight) for part, weight in self.parts])

    def __repr__(self) -> str:
        return f"poz.combine([{', '.join(f'({part!r}, {weight!r})' for part, weight in self.parts)}])"

    def __deepcopy__(self, memo: dict[int, Any]) -> Objective:
        return combine(copy.deepcopy(self.parts, memo))

    def __reduce__(self) -> tuple[Callable[..., Objective], tuple[Any]]:
        return combine, (self.parts,)


def combine(
    weights: Mapping[str, Weight] | Iterable[tuple[str | Objective, Weight]],
) -> Combination:
    """One objective that is a weighted sum of several, and reads what any of them reads.

        poz.combine({"dpo": 1.0, "sft": 0.2})
        poz.combine([(poz.dpo.bind(beta=0.3), 1.0), ("sft", per_example)])

    Objectives on `poz.Pairs`, `poz.Unpaired`, `poz.Ranked` and `poz.Samples` go together on pairs. One on single completions
    takes the mean over both of a pair, chosen as desirable and rejected as not, or the rejected one alone where it does not
    ask which is which; one on lists takes the pair as a list of two, with the scores `margin` and 0, or 1 and 0, with the
    win rates `label` and 1 - `label`, or 1 and 0, and with the reference as the last iteration's policy.

        poz.combine([("dpo", 0.8), ("bco", 0.4), (poz.sft.bind(normalizer="batch_tokens"), 1.0)])  # MPO: 0.2 of each BCO term

    Args:
        weights: A weight for each objective, by name with its default hyper-parameters, or bound. A weight is a number,
            or an array (batch,) with one per example.

    Returns:
        An objective of the same family, or on pairs, without hyper-parameters of its own: bind those of its parts.

    Raises:
        KeyError: An unknown name.
        TypeError: Something else than objectives and numbers.
        ValueError: No objectives, a weight that is not finite, or objectives of families that do not go together.
    """
    if tracing():
        raise TypeError(
            "poz.combine inside a compiled function would be compiled for each value of a weight. Call it outside."
        )
    given = weights if isinstance(weights, Iterable) and not isinstance(weights, str) else [weights]
    parts = tuple(map(_part, given.items() if isinstance(given, Mapping) else given))
    family, reads, optional = _together([part for part, _ in parts])
    coupled = ", ".join(part.coupled for part, _ in parts if part.coupled)

    def function(xp: Namespace, batch: Any) -> Array:
        return reduce(add, (_weighted(xp, part, weight, _losses(xp, part, batch)) for part, weight in parts))

    function.__doc__ = "The sum of\n\n" + "\n".join(f"    {_shown(part, weight)}" for part, weight in parts)

    def joined(of: Callable[[Objective], str]) -> str:
        return " + ".join(of(part) for part, _ in parts)

    return Combination(
        parts=parts,
        name=joined(lambda part: part.name),
        title=joined(lambda part: part.title),
        paper=", ".join(part.paper for part, _ in parts),
        equation="weighted sum",
        formula=joined(lambda part: rf"w_{{\text{{{part.name}}}}}\,\Bigl({part.formula}\Bigr)"),
        family=family,
        params=MappingProxyType({}),
        function=function,
        needs=lambda values: reads,
        may_read=optional,
        couples=lambda values: coupled,
        gradient_stops="; ".join(f"{part.gradient_stops} ({part.name})" for part, _ in parts if part.gradient_stops),
        values=MappingProxyType({}),
        _required=reads,
    )


Combination.__doc__ = Described(Combination.__doc__)  # type: ignore[assignment]
Objective._times = lambda objective, weight: combine([(objective, weight)])


def _shown(part: Objective, weight: Weight) -> str:
    """A part and what it is bound to, for `help`."""
    often = weight if isinstance(weight, int | float) else f"weights of shape {tuple(weight.shape)}"
    bound = ", ".join(f"{name}={value!r}" for name, value in part.values.items())
    return f"{often} of {part.name}, {part.title}" + f": {bound}" * bool(bound)


def _part(given: Any) -> tuple[Objective, Weight]:
    pair = isinstance(given, tuple | list) and len(given) == 2
    key, weight = given if pair else (given, None)
    part = zoo[key] if isinstance(key, str) else key
    if not isinstance(part, Objective) or not (type(weight) in NUMBERS or hasattr(weight, "dtype")):
        raise TypeError(
            "combine needs pairs of an objective, or its name, and a weight, a number or an array; got "
            f"{given!r}. Say poz.combine({{'dpo': 1.0, 'sft': 0.2}})."
        )
    if isinstance(weight, int | float) and not abs(weight) < math.inf:
        raise ValueError(f"combine needs finite weights; got {weight} for `{part.name}`.")
    return part, weight


def _together(parts: list[Objective]) -> tuple[type[Any], tuple[str, ...], tuple[str, ...]]:
    """The family on which they go together, and what they read of it, and may read."""
    families = {part.family for part in parts}
    mixed = len(families) > 1
    if not parts or (mixed and not families <= {Pairs, *MADE}):
        given = ", ".join(f"{part.name} ({named(part.family)})" for part in parts) or "none"
        raise ValueError(f"combine needs objectives of one family, or such as go together on pairs; got {given}.")
    reads: list[str] = []
    optional: list[str] = []
    for part in parts:
        needed, used = tuple(part._required), tuple(part.optional)
        if mixed and part.family is not Pairs:
            needed, used, missing = read_of_pairs(needed)
            if missing:
                raise ValueError(
                    f"combine puts `{part.name}` on pairs, which do not give the {', '.join(missing)} it reads."
                )
        reads, optional = [*reads, *needed], [*optional, *used]
    return (
        Pairs if mixed else parts[0].family,
        tuple(dict.fromkeys(reads)),
        tuple(sorted({*optional} - {*reads})),
    )


def _losses(xp: Namespace, part: Objective, batch: Any) -> Array:
    if type(batch) is part.family:
        return part(batch)
    if layout_of(part.family).lists:
        return part(list_of(xp, part.family, batch))
    sides = ("chosen", "rejected") if "desirable" in part.reads else ("rejected",)
    return reduce(add, (part(alone(xp, batch, side)) for side in sides)) / len(sides)


def _weighted(xp: Namespace, part: Objective, weight: Any, losses: Array) -> Array:
    if hasattr(weight, "dtype"):
        shape, wanted = tuple(weight.shape), tuple(losses.shape)
        if shape != wanted and (len(shape) > len(wanted) or {*shape} - {1}):
            raise ValueError(
                f"combine needs a number, or one weight per example, an array of shape {wanted}, for `{part.name}`; got "
                f"shape {shape}."
            )
        if namespace(weight) is not xp and not (xp.name == "jax" and isinstance(weight, np.ndarray)):
            what = layout_of(part.family).what
            raise TypeError(
                f"combine got {namespace(weight).name} as the weight of `{part.name}` but {xp.name} for the {what}; "
                "give a number, or one library's arrays."
            )
    return terms.times(xp, weight, losses)
