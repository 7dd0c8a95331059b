"""Several objectives in one picture: their curves, what each is called, and the scale that they are drawn on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from poz._given import given
from poz._nearest import nearest
from poz.domains import Real
from poz.objective import Objective
from poz.plotting.lines import Line, lines, with_values
from poz.plotting.points import Points, points, reach
from poz.plotting.words import number
from poz.zoo import zoo

SCALES = ("shared", "normalised", "own")
UNEQUAL = 10.0
"""How many times as high as another a curve may be before one axis would flatten it."""


class Named(NamedTuple):
    """An objective under the name that a picture gives it."""

    name: str
    objective: Objective


class Curve(NamedTuple):
    """A curve: its label, the place of its objective, its line, its points, and those as they are drawn."""

    label: str
    of: int
    line: Line
    raw: Points
    at: Points


@dataclass(frozen=True)
class Comparison:
    """What a picture shows.

    Attributes:
        curves: In the order of the objectives.
        names: Of the objectives.
        along: The label of the axis that all go along, with its unit.
        ends: From where to where.
        scale: "shared", "normalised" or "own".
        loss: What the axis of losses says: what, and on which scale.
        gradient: What that of gradients says.
        why: Why the scale is another than asked for; "" where it is not.
        still: What stands still, in a sentence for each objective.
    """

    curves: tuple[Curve, ...]
    names: tuple[str, ...]
    along: str
    ends: tuple[float, float]
    scale: str
    loss: str
    gradient: str
    why: str
    still: str

    @property
    def held(self) -> str:
        """Of which objectives the gradient is not the slope of the loss, in a sentence; "" where it is of all."""
        who = dict.fromkeys(self.names[curve.of] for curve in self.curves if curve.line.held)
        said = "the gradient is not the slope of the loss, parts of which are held constant."
        return f"Of {', '.join(who)} {said}" if who else ""


@given
def compare(
    objectives: Iterable[Objective | Named], ends: tuple[float, float] | None = None, scale: str | None = None
) -> Comparison:
    """The curves of objectives that go along one axis.

    Args:
        objectives: Each once with the same hyper-parameters.
        ends: From where to where; as far as their lines go where it is None.
        scale: One axis for all ("shared"); the loss minus that at 0, and the gradient, over the largest slope of each
            objective ("normalised"); or an axis for each ("own"). Shared where it is None, unless that would flatten one.

    Raises:
        ValueError: What cannot be drawn, or not along one axis; an objective that is there twice.
    """
    if scale is not None and scale not in SCALES:
        raise ValueError(nearest("scale", scale, SCALES))
    if ends is not None and not -math.inf < ends[0] < ends[1] < math.inf:
        raise ValueError(f"compare needs two numbers for ends, the smaller one first; got {ends[0]} and {ends[1]}.")
    several = list(objectives)
    if not several:
        raise ValueError("compare needs an objective; got none.")
    names, every = _named(several), [one.objective if isinstance(one, Named) else one for one in several]
    widest = max(map(abs, ends)) if ends else 0.0
    drawn = [
        (label, i, line)
        for i, one in enumerate(every)
        for label, line in _labelled(names[i] if len(every) > 1 else "", one, widest)
    ]
    along, unit = _along([line for _, _, line in drawn])
    low, high = ends or drawn[0][2].ends
    found = [(label, i, line, points(line, low, high)) for label, i, line in drawn]
    used, why = scale or "shared", ""
    own = [[at for _, i, _, at in found if i == place] for place in range(len(every))]
    spans = [reach((at.x, at.loss) for at in each) for each in own]
    heights = [most - least for least, most in spans]
    spread = max(heights) / min((h for h in heights if h > 0), default=1.0)
    if scale is None and spread > UNEQUAL:
        used = "normalised"
        why = f"One loss is {number(spread)} times as high as another, so each is normalised; scales shared and own do not."
    steepest = [max(map(abs, reach((at.x, at.slope) for at in each))) or 1.0 for each in own]
    pivot = 0.0 if low <= 0 <= high else low
    curves = []
    for label, i, line, at in found:
        shown = at
        if used == "normalised":
            start = line.at(np.array([pivot]))[0][0]
            shown = Points(at.x, (at.loss - start) / steepest[i], at.slope / steepest[i])
        curves.append(Curve(label, i, line, at, shown))
    loss, gradient, said = "loss", "gradient", "one axis for all" if used == "shared" else "an axis of its own"
    if used == "normalised":
        loss, said = f"loss \N{MINUS SIGN} loss at {pivot:g}", "each by its largest slope"
    if len(every) > 1 or used == "normalised":
        loss, gradient = f"{loss}, {said}", f"{gradient}, {said}"
    still: dict[str, list[str]] = {}
    for curve in curves:
        who = still.setdefault(curve.line.still, [])
        who += [names[curve.of]] * (names[curve.of] not in who)
    said_still = " ".join(f"{', '.join(who)}: {what}." for what, who in still.items())
    if len(still) == 1:
        said_still = f"{next(iter(still)).capitalize()}."
    return Comparison(
        tuple(curves), tuple(names), f"{along} ({unit})", (low, high), used, loss, gradient, why, said_still
    )


def _labelled(name: str, objective: Objective, widest: float) -> list[tuple[str, Line]]:
    return [(", ".join(filter(None, (name, line.name))), line) for line in lines(objective, widest)]


def _along(made: Sequence[Line]) -> tuple[str, str]:
    """What all lines go along."""
    found = {line.along: line for line in made}
    if len({line.unit for line in made}) == 1 and all(along.startswith("margin") for along in found):
        return next(iter(found)) if len(found) == 1 else "margin", made[0].unit
    if len(found) > 1:
        said = [f"`{line.objective.name}` against the {along}" for along, line in found.items()]
        raise ValueError(f"Of one axis no picture can be made: {' and '.join(said)}. Plot them apart.")
    return made[0].along, made[0].unit


def _named(several: Sequence[Objective | Named]) -> list[str]:
    """Names with the hyper-parameters that are not at their defaults, or in which objectives of one name differ."""
    bare = [one for one in several if not isinstance(one, Named)]
    names = []
    for one in several:
        if isinstance(one, Named):
            names.append(one.name)
            continue
        twins = [other for other in bare if other.name == one.name]
        told = {
            key: value
            for key, value in one.values.items()
            if not _equal(value, one.params[key].default)
            or not all(_equal(value, other.values[key]) for other in twins)
        }
        names.append(with_values(one.name, told))
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is there twice. Leave one out, or give it another hyper-parameter.")
    return names


def _equal(a: object, b: object) -> bool:
    return a is b or bool(np.array_equal(a, b))  # type: ignore[arg-type]


@given
def approaching(objective: Objective) -> list[Named | Objective]:
    """An objective, the same half and most of the way to each of its limits that is another objective, and that one.

    Only limits in hyper-parameters are drawn, those on which both losses are the same along their lines.

    Raises:
        ValueError: It has none; the message says which it has otherwise.
    """
    drawn: list[Named | Objective] = [objective]
    for limit in objective.reduces_to:
        there = objective.bind(**limit.when(objective.values))
        other = zoo[limit.to].bind(**limit.then(objective.values))
        if not _alike(there, other):
            continue
        changed = {key: value for key, value in there.values.items() if not _equal(value, objective.values[key])}
        for share in (0.5, 0.9):
            if all(_between(objective, key) for key in changed) and changed:
                values = {key: _part(objective.values[key], value, share) for key, value in changed.items()}
                drawn.append(Named(with_values(objective.name, values), objective.bind(**values)))
        target = with_values(
            other.name, {k: v for k, v in other.values.items() if not _equal(v, other.params[k].default)}
        )
        drawn.append(Named(f"{target}, where {limit.why}", other))
    if len(drawn) == 1:
        whys = [f"{limit.to} ({limit.why})" for limit in objective.reduces_to]
        raise ValueError(
            f"`{objective.name}` becomes no other objective along what is drawn. "
            + (f"On other data it does: {', '.join(whys)}." if whys else "Leave --limits out.")
        )
    return drawn


def _alike(one: Objective, other: Objective) -> bool:
    """Whether every line of one is a line of the other, by its place."""
    try:
        both = lines(one), lines(other)
    except ValueError:
        return False
    return len(both[0]) == len(both[1]) and all(a.ends == b.ends and a.same(b) for a, b in zip(*both, strict=True))


def _between(objective: Objective, key: str) -> bool:
    domain, value = objective.params[key].domain, objective.values[key]
    return isinstance(domain, Real) and not domain.whole and type(value) in (int, float) and math.isfinite(value)


def _part(start: float, end: float, share: float) -> float:
    return float(f"{start + share * (end - start):.3g}")
