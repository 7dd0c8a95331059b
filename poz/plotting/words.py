"""What a picture shows, in sentences made from its numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from poz._given import given
from poz.families import layout_of
from poz.objective import Objective
from poz.plotting.lines import Line, label
from poz.plotting.points import Points, drawn, height

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@given
def alt(objective: Objective) -> str:
    """A text for those who do not see the picture of `svg`: what moves, how the loss goes, where the gradient is 0 or jumps.

    Raises:
        ValueError: There is nothing to draw it against; the message says why.
        TypeError: It has no reference.
    """
    made = drawn(objective)
    first = made[0][0]
    low, high = map(number, first.ends)
    said = {"nats": "nats"}.get(first.unit, f"({first.unit})")
    moved = f"{label(objective)} against the {first.along}, from {low} to {high} {said}; {first.still}."
    return signed(" ".join([f"Loss and gradient of {moved}", *(said for one in made for said in described(*one))]))


def described(line: Line, at: Points) -> Iterator[str]:
    """Sentences about one line."""
    yield f"{f'{_where(line)}, the' if line.name else 'The'} loss {_course(line, at)}."
    held = ", and not the slope of that loss, parts of which are held constant" if line.held else ""
    yield f"Its gradient {_gradient(at)}{held}."


def _where(line: Line) -> str:
    """Which line it is."""
    layout = layout_of(line.objective.family)
    if line.name.endswith(" moves"):
        return f"When only the {line.name.removesuffix(' moves')} {'image' if layout.errors else 'completion'} moves"
    said = {"desirable": "For a desirable completion", "undesirable": "For an undesirable completion"}
    return said.get(line.name, f"With {line.name}")


def number(x: float, scale: float = 0.0) -> str:
    """Three digits; 0, or almost, of what is nothing beside `scale`; with a minus sign that is read as one."""
    if abs(x) <= 1e-6 * min(scale, 1.0):
        return "0" if abs(x) <= 1e-12 * scale else "almost 0"
    if not math.isfinite(x):
        return f"{x}"
    if 1e-6 <= abs(x) < 1e7 or x == 0:
        return signed(f"{x:.0f}" if abs(x) >= 1000 else np.format_float_positional(float(f"{x:.3g}"), trim="-"))
    digits, power = f"{x:.3g}".split("e")
    return signed(f"{digits} \N{MULTIPLICATION SIGN} 10{str(int(power)).translate(_RAISED)}")


def signed(text: str) -> str:
    """With a minus sign that is read as one before numbers."""
    return re.sub(r"(?<!\w)-(?=[\d.])", "\N{MINUS SIGN}", text)


def _course(line: Line, at: Points) -> str:
    """How the loss goes from the left to the right."""
    step, scale = np.diff(at.loss), float(np.abs(at.loss).max())
    way = np.where(np.abs(step) <= 4e-16 * scale, 0, np.sign(step))
    for i in np.flatnonzero((way == 0) & (np.diff(at.x) <= _close(at)))[::-1]:
        way[i] = way[min(i + 1, len(way) - 1)]  # too short to be called flat
    turns = [0, *(np.flatnonzero(np.diff(way)) + 1), len(at.x) - 1]
    if len(turns) == 2 and way[0] == 0:
        return f"is {number(at.loss[0])} throughout"
    said = []
    for start, end in pairwise(turns):
        if way[start] == 0:
            said.append(
                f"{'stays there' if start else f'is {number(at.loss[0], scale)}'} until {_place(at.x[end], at)}"
            )
            continue
        x, value = at.x[end], at.loss[end]
        if end < len(at.x) - 1 and way[end] == -way[start]:
            x, value = _turn(line, at.x[end - 1], at.x[end + 1], way[start])
        begin = "" if start else f" from {number(at.loss[0], scale)}"
        place = f" at {_place(x, at)}" if end < len(at.x) - 1 else ""
        said.append(f"{'rises' if way[start] > 0 else 'falls'}{begin} to {number(value, scale)}{place}")
    middle = f"; at 0 it is {number(at.loss[at.x == 0][0], scale)}" if 0 in at.x[1:-1] else ""
    return ", then ".join(said) + middle


def _turn(line: Line, low: float, high: float, sign: float) -> tuple[float, float]:
    """Where the loss is highest (sign > 0), or lowest, between two points, and what it is there."""
    for _ in range(6):
        xs = np.linspace(low, high, 33)
        values = line.at(xs)[0]
        best = int(np.argmax(sign * values))
        low, high = xs[max(best - 1, 0)], xs[min(best + 1, 32)]
    return float(xs[best]), float(values[best])


def _gradient(at: Points) -> str:
    """Where it is 0, and where it jumps."""
    none = at.slope == 0
    if none.all():
        return "is 0 throughout"
    zeros = list(_zeros(at, none))
    said = [f"{number(at.slope[at.x == 0][0])} at 0"] * (0 in at.x) + [f"0 {zero}" for zero in zeros]
    said += ["nowhere else" if 0 in at.x[none] else "never 0"] * (not zeros)
    jumps = [_place(x, at) for x in _jumps(at)]
    with_ = f", with {'a jump' if len(jumps) == 1 else 'jumps'} at {_listed(jumps)}" if jumps else ""
    return f"is {_listed(said)}{with_}"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + words[-1:])


def _place(x: float, at: Points) -> str:
    return "0" if abs(x) <= _close(at) else number(x)


def _zeros(at: Points, none: npt.NDArray[np.bool_]) -> Iterator[str]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], none.astype(int), [0]])))
    for start, end in zip(edges[::2], edges[1::2] - 1, strict=True):
        if start < end:
            above = "just above " if 0 < at.x[start] <= _close(at) else ""
            yield f"from {above}{_place(at.x[start], at)} to {_place(at.x[end], at)}"
        elif at.x[start] != 0:
            yield f"at {number(at.x[start])}"
    jumped = np.diff(at.x) <= _close(at)
    for i in np.flatnonzero((at.slope[:-1] * at.slope[1:] < 0) & ~jumped):
        share = at.slope[i] / (at.slope[i] - at.slope[i + 1])
        yield f"at {number(at.x[i] + share * (at.x[i + 1] - at.x[i]))}"


def _jumps(at: Points) -> list[float]:
    """Where two points that are as close as points get lie apart, but for the ends, where a slope may be without bound."""
    step = np.abs(np.diff(at.slope))
    far = step > 0.01 * height(at.slope[None])[0]
    span = at.x[-1] - at.x[0]
    found: list[float] = []
    for i in np.flatnonzero((np.diff(at.x) <= _close(at)) & far):
        x = at.x[i] if at.x[i] == 0 else at.x[i + 1]
        inside = at.x[0] + 0.01 * span < x < at.x[-1] - 0.01 * span
        if inside and not (found and x - found[-1] < 0.01 * span):
            found.append(float(x))
    return found


def _close(at: Points) -> float:
    return float(at.x[-1] - at.x[0]) * 1e-6
