"""Small pictures for a page, as SVG without any library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from poz._given import given
from poz.objective import Objective
from poz.plotting.lines import Floats, label
from poz.plotting.points import drawn, reach
from poz.plotting.words import alt, signed

LOOKS = (
    ("#1f86c9", ""),
    ("#d55e00", ' stroke-dasharray="7 4"'),
    ("#0d9a72", ' stroke-dasharray="2 3"'),
    ("#b0609a", ' stroke-dasharray="8 3 2 3"'),
)
"""Colour and dashes of each line of an objective: colours that the colour-blind tell apart, on white and on black."""
WIDE, HIGH, LEFT, TOP, BOTTOM, GAP = 520, 240, 54, 44, 46, 66


@given
def svg(objective: Objective) -> str:
    """Loss and gradient of an objective as an `<svg>` that goes into a page as it is: text and axes in the page's colour.

    It has no ids, so a page may hold many; `<title>` and `<desc>`, the latter `alt(objective)`, are read out.

    Raises:
        ValueError: There is nothing to draw it against; the message says why.
        TypeError: It has no reference.
    """
    made = drawn(objective)
    width = (WIDE - LEFT - GAP - 18) / 2
    low, high = made[0][0].ends
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" role="img" class="poz-picture" '
        'fill="none" stroke="currentColor" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(label(objective))}: loss and gradient</title><desc>{escape(alt(objective))}</desc>",
    ]
    for left, of, column in ((LEFT, "loss", 1), (LEFT + width + GAP, "gradient", 2)):
        box = Box(left, TOP, width, HIGH - TOP - BOTTOM, low, high, *limits((at.x, at[column]) for _, at in made))
        parts += [
            box.axes(of),
            *(box.path(at.x, at[column], *look) for (_, at), look in zip(made, LOOKS, strict=False)),
        ]
    parts.append(_text(WIDE / 2, HIGH - 6, signed(f"{made[0][0].along} ({made[0][0].unit})")))
    parts.append('<g font-size="14">')  # as many letters as fit, however large a page makes the others
    x = LEFT
    for (line, _), (colour, dash) in zip(made, LOOKS, strict=False):
        if line.name:
            parts.append(f'<path d="M{x} 10h26" stroke="{colour}" stroke-width="2"{dash}/>')
            parts.append(_text(x + 32, 14, signed(line.name), "start"))
            x += 52 + 7 * len(line.name)
    return "".join([*parts, "</g></svg>"])


@given
def thumbnail(objective: Objective) -> str:
    """The loss alone, without words but `<title>`, 120 by 72.

    Raises:
        ValueError: There is nothing to draw it against; the message says why.
        TypeError: It has no reference.
    """
    made = drawn(objective)
    box = Box(4, 4, 112, 64, *made[0][0].ends, *limits((at.x, at.loss) for _, at in made))
    title = signed(f"Loss of {label(objective)} against the {made[0][0].along}")
    return "".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 72" role="img" class="poz-thumbnail" fill="none" '
            f'stroke="currentColor"><title>{escape(title)}</title>',
            box.frame(),
            *(box.path(at.x, at.loss, *look) for (_, at), look in zip(made, LOOKS, strict=False)),
            "</svg>",
        ]
    )


class Box:
    """A panel: its corner and size on the page, and what its axes go over."""

    def __init__(self, *given: float) -> None:
        self.left, self.top, self.width, self.height, self.low, self.high, self.least, self.most = given

    def x(self, at: float) -> float:
        """Where a number lies on the page."""
        return self.left + (at - self.low) / (self.high - self.low) * self.width

    def y(self, at: float) -> float:
        """The same of a loss or slope, which ends at the edge."""
        return self.top + (self.most - min(max(at, self.least), self.most)) / (self.most - self.least) * self.height

    def frame(self) -> str:
        """The left and lower axis, and thin lines at 0."""
        left, foot, right = self.left, self.top + self.height, self.left + self.width
        d = f"M{left:g} {self.top:g}V{foot:g}H{right:g}"
        zeros = f"M{self.x(0):.1f} {self.top:g}V{foot:g}" * (self.low < 0 < self.high)
        zeros += f"M{left:g} {self.y(0):.1f}H{right:g}" * (self.least < 0 < self.most)
        return f'<path d="{d}" opacity=".7"/>' + f'<path d="{zeros}" opacity=".25"/>' * bool(zeros)

    def axes(self, of: str) -> str:
        """The frame with ticks, their numbers and what it is of."""
        foot = self.top + self.height
        across, up = ticks(self.low, self.high, 4), ticks(self.least, self.most, 4)
        if max(map(len, labels(across))) > 4:  # they would touch
            across = ticks(self.low, self.high, 2)
        d = "".join(f"M{self.x(t):.1f} {foot:g}v4" for t in across)
        d += "".join(f"M{self.left:g} {self.y(t):.1f}h-4" for t in up)
        words = [_text(self.x(t), foot + 17, said) for t, said in zip(across, labels(across), strict=True)]
        words += [_text(self.left - 6, self.y(t) + 4, said, "end") for t, said in zip(up, labels(up), strict=True)]
        words.append(_text(self.left, self.top - 8, of, "start"))
        return self.frame() + f'<path d="{d}" opacity=".7"/>' + "".join(words)

    def path(self, x: Floats, y: Floats, colour: str, dash: str) -> str:
        """A line, with gaps where it is no finite number."""
        d, pen = [], "M"
        for a, b in zip(x, y, strict=True):
            if math.isfinite(b):
                d.append(f"{pen}{self.x(a):.1f} {self.y(b):.1f}")
            pen = "L" if math.isfinite(b) else "M"
        return f'<path d="{"".join(d)}" stroke="{colour}" stroke-width="2" stroke-linejoin="round"{dash}/>'


def ticks(low: float, high: float, count: int) -> list[float]:
    """About that many round numbers between two."""
    step = (high - low) / count
    size = 10.0 ** math.floor(math.log10(step))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= step * 0.99)
    return [round(i * step, 12) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def labels(numbers: Sequence[float]) -> list[str]:
    """Of ticks: as many digits as tell them apart."""
    largest = max(map(abs, numbers))
    if largest >= 1e5 or 0 < largest < 1e-4:
        return [signed(f"{t:.3g}".replace("e+0", "e").replace("e-0", "e-")) for t in numbers]
    digits = next(d for d in range(9) if all(abs(round(t, d) - t) < 1e-9 * largest for t in numbers))
    return [signed(f"{t:.{digits}f}") for t in numbers]


def limits(drawn: Iterable[tuple[Floats, Floats]]) -> tuple[float, float]:
    """Of an axis, with some room; a pole at an end does not flatten the rest."""
    low, high = reach(drawn)
    pad = 0.04 * (high - low)
    if not pad > 1e-12 * abs(high):
        pad = 0.5 * max(abs(high), 1.0)
    return low - pad, high + pad


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" stroke="none">{escape(words)}</text>'
    )
