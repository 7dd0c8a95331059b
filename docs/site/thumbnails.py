"""A small picture of an objective: its loss on the left, the gradient on the right, each panel on a scale of its own."""

from __future__ import annotations

from html import escape

import numpy as np

from poz.objective import Objective
from poz.plotting import alt
from poz.plotting.lines import Floats
from poz.plotting.points import drawn, reach
from poz.plotting.words import signed

WIDTH, HEIGHT, GAP, EDGE = 92, 56, 16, 3
KINDS = "first", "second", "third"
"""Of lines, by what sets their looks apart in gallery.css."""
USUAL = "margin of chosen over rejected"
"""What most are drawn against, which no card says."""


def thumbnail(objective: Objective) -> str:
    """An SVG with its text and the ends of both scales, or a sentence that says why there is no curve."""
    try:
        made = drawn(objective)
    except ValueError as error:
        why = str(error).split(". ")[0].rstrip(".").replace("`", "")
        return f'<p class="poz-no-curve">No picture: {escape(why)}.</p>'
    line, _ = made[0]
    xs, parts, scales = [at.x for _, at in made], [], []
    for left, what, ys in (
        (0, "loss", [at.loss for _, at in made]),
        (WIDTH + GAP, "gradient", [at.slope for _, at in made]),
    ):
        parts.append(_panel(xs, ys, left))
        scales.append(f"<span>{what} {_ends(xs, ys)}</span>")
    along = (
        f"against the {signed(line.along)} ({_sign(line.ends[0])} to {line.ends[1]:g})" if line.along != USUAL else ""
    )
    keys = [
        f'<span class="poz-key poz-key-{kind}">{signed(escape(one.name))}</span>'
        for kind, (one, _) in zip(KINDS, made, strict=False)
        if len(made) > 1
    ]
    said = " ".join((escape(along), *keys)).strip()
    return (
        f'<svg class="poz-thumbnail" viewBox="0 0 {2 * WIDTH + GAP} {HEIGHT}" role="img" aria-label="{escape(alt(objective))}">'
        f'{"".join(parts)}</svg><p class="poz-scale">{"".join(scales)}</p>'
        + (f'<p class="poz-lines">{said}</p>' if said else "")
    )


def _panel(xs: list[Floats], ys: list[Floats], left: float) -> str:
    low, high = _range(xs, ys)
    middle, tall = left + WIDTH / 2, HEIGHT - 2 * EDGE

    def height(y: Floats | float) -> Floats | float:
        return EDGE + tall * ((high - np.clip(y, low, high)) / (high - low) if high > low else 0.5)

    parts = [f'<path class="poz-axis" d="M{middle:g} 0V{HEIGHT}"/>']
    if low < high and low <= 0 <= high:
        parts.append(f'<path class="poz-axis" d="M{left:g} {height(0):.1f}h{WIDTH}"/>')
    for kind, x, y in zip(KINDS, xs, ys, strict=False):
        across = left + WIDTH * (x - x[0]) / (x[-1] - x[0])
        points = " ".join(f"{a:.1f} {b:.1f}" for a, b in zip(across, height(y) + 0 * x, strict=True) if np.isfinite(b))
        parts.append(f'<path class="poz-{kind}" d="M{points}"/>')
    return "".join(parts)


def _range(xs: list[Floats], ys: list[Floats]) -> tuple[float, float]:
    """The lowest and the highest number but for a pole at an end, which are one where what is between them is rounding."""
    low, high = reach(zip(xs, ys, strict=True))
    return (low, high) if high - low > 1e-9 * max(abs(low), abs(high)) else (high, high)


def _ends(xs: list[Floats], ys: list[Floats]) -> str:
    """Both ends, to a hundredth of what is between them."""
    low, high = _range(xs, ys)
    places = 2 - int(np.floor(np.log10(high - low or 1)))
    return f"{_sign(round(low, places))} to {_sign(round(high, places))}" if low < high else _sign(low)


def _sign(number: float) -> str:
    return f"{number + 0.0:.7g}".replace("-", "\N{MINUS SIGN}")
