"""Figures for papers and slides, by matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from poz._extras import require
from poz._given import given
from poz._nearest import nearest
from poz._output import PICTURES, check_output
from poz.objective import Objective
from poz.plotting.compare import Comparison, Curve, Named, compare
from poz.plotting.inline import limits
from poz.plotting.words import described, signed

PANELS = ("loss", "gradient", "both")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00")
"""Of Okabe and Ito, which the colour-blind tell apart; one for each objective."""
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 3)), (0, (6, 1.5, 1.2, 1.5, 1.2, 1.5)))
MARKERS = ("", "o", "s", "^", "v", "D", "P", "X")
"""With the dashes, one look for each curve; colour says it again."""
STYLES: dict[str, dict[str, float]] = {
    "paper": {"one": 3.25, "two": 5.5, "height": 2.1, "font": 8, "line": 1.2, "tick": 0.6},
    "slide": {"one": 7.5, "two": 12.0, "height": 4.6, "font": 16, "line": 2.5, "tick": 1.0},
}
"""Inches of a picture of one panel, a column of a paper, of two, its text, and of their height; points of letters and lines."""
BESIDE = 7, 18
"""Curves, and letters of a name, up to which names stand beside the curves; else below the picture."""


@given
def plot(
    objectives: Iterable[Objective | Named],
    path: Path,
    *,
    ends: tuple[float, float] | None = None,
    what: str = "both",
    scale: str | None = None,
    style: str = "paper",
    title: str = "",
) -> Comparison:
    """Writes losses, gradients or both as PNG, PDF or SVG, the same bytes each time; needs matplotlib.

    Args:
        objectives: What is drawn, along one axis.
        path: Where to, by its ending.
        ends: From where to where; as far as their lines go where it is None.
        what: "loss", "gradient" or "both".
        scale: "shared", "normalised" or "own"; see `poz.plotting.compare`.
        style: "paper" or "slide".
        title: Above it; the name where it is "" and one objective is drawn.

    Returns:
        What was drawn.

    Raises:
        ValueError: What cannot be drawn, or not along one axis.
    """
    for what_it_is, asked, known in (("panel", what, PANELS), ("style", style, STYLES)):
        if asked not in known:
            raise ValueError(nearest(what_it_is, asked, known))
    check_output(path, PICTURES)
    require("A plot", "plot", "matplotlib")
    import matplotlib
    from matplotlib.figure import Figure

    shown = compare(objectives, ends, scale)
    looks = STYLES[style]
    rows = len(shown.names) if shown.scale == "own" else 1
    columns = {"both": (1, 2), "loss": (1,), "gradient": (2,)}[what]
    width = looks["two"] if what == "both" else looks["one"]
    labels = [curve.line.name if rows > 1 else curve.label for curve in shown.curves]
    beside = rows > 1 or (len(labels) <= BESIDE[0] and max(map(len, labels)) <= BESIDE[1])
    across, below = _below(labels, width, looks) if not beside else (1, 0.0)
    with matplotlib.rc_context(_rc(looks)):
        figure = Figure((width, rows * looks["height"] + below), layout="constrained")
        tall = [rows * looks["height"], below][: 2 if below else 1]
        upper, *lower = figure.subfigures(len(tall), 1, height_ratios=tall, squeeze=False).flat
        grid = upper.subplots(rows, len(columns), squeeze=False, sharex=True)
        for row, panels in enumerate(grid):
            curves = [(i, c) for i, c in enumerate(shown.curves) if rows == 1 or c.of == row]
            for axes, column in zip(panels, columns, strict=True):
                _panel(axes, curves, column, shown, looks)
                what_it_is = (shown.loss, shown.gradient)[column - 1]
                named = f"{shown.names[row]}: {what_it_is}" if rows > 1 else what_it_is.replace(", ", ",\n", 1)
                axes.set_title(signed(named), loc="left", fontsize=looks["font"])
            if beside and len(curves) > 1:
                _direct(panels[-1], curves, labels, columns[-1], looks)
        upper.supxlabel(signed(shown.along), fontsize=looks["font"])
        for part in lower:
            _legend(part, shown.curves, labels, across, looks)
        if above := title or (signed(shown.names[0]) if len(shown.names) == 1 else ""):
            figure.suptitle(above, fontsize=1.2 * looks["font"])
        _save(figure, path, shown, title)
    return shown


def _rc(looks: dict[str, float]) -> Any:
    """Letters stay letters in PDF (Type 42) and SVG, whose ids are the same each time."""
    size, line = looks["font"], looks["tick"]
    return {
        "font.size": size, "axes.labelsize": size, "xtick.labelsize": size, "ytick.labelsize": size,
        "axes.linewidth": line, "xtick.major.width": line, "ytick.major.width": line, "axes.spines.top": False,
        "axes.spines.right": False, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "poz", "path.simplify": False,
        "xtick.major.size": size / 3, "ytick.major.size": size / 3, "axes.formatter.limits": (-4, 5), "savefig.dpi": 200,
    }  # fmt: skip


def look(place: int, curve: Curve) -> dict[str, Any]:
    """Dashes and marker of a curve, which no other has, and the colour of its objective."""
    return {
        "color": COLOURS[curve.of % len(COLOURS)],
        "linestyle": DASHES[place % len(DASHES)],
        "marker": MARKERS[place // len(DASHES) % len(MARKERS)],
    }


def _panel(
    axes: Any, curves: Sequence[tuple[int, Curve]], column: int, shown: Comparison, looks: dict[str, float]
) -> None:
    low, high = shown.ends
    for place, curve in curves:
        x, y = curve.at.x, curve.at[column]
        style = look(place, curve)
        marker = style.pop("marker")
        axes.plot(x, y, linewidth=looks["line"], **style)
        if marker:
            at = np.linspace(low, high, 7)[:-1] + (high - low) / 6 * (place % len(DASHES) + 0.5) / len(DASHES)
            axes.plot(
                at, np.interp(at, x, y), marker, color=style["color"], markersize=3 * looks["line"], fillstyle="none"
            )
    axes.set_xlim(low, high)
    axes.locator_params(nbins=5)
    least, most = limits((curve.at.x, curve.at[column]) for _, curve in curves)
    axes.set_ylim(least, most)
    for crossed, line in ((low < 0 < high, axes.axvline), (least < 0 < most, axes.axhline)):
        if crossed:
            line(0, color="0.8", linewidth=looks["tick"], zorder=0)


def _direct(
    axes: Any, curves: Sequence[tuple[int, Curve]], labels: Sequence[str], column: int, looks: dict[str, float]
) -> None:
    """Each curve goes on, in its own look, to its name, which stands to the right of the panel."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    letter, (low, high) = looks["font"] / 72, axes.get_ylim()
    from_edge = axes.figure.dpi_scale_trans + ScaledTranslation(
        1, 0, axes.transAxes
    )  # inches to the right of the panel
    beside = blended_transform_factory(from_edge, axes.transAxes)
    ends = sorted((float(np.clip((c.at[column][-1] - low) / (high - low), 0, 1)), place, c) for place, c in curves)
    places = apart([end for end, _, _ in ends], 1.3 * letter / (0.65 * looks["height"]))
    for (end, place, curve), y in zip(ends, places, strict=True):
        style = look(place, curve)
        axes.plot(
            [0, letter, 4 * letter], [end, y, y], transform=beside, clip_on=False, linewidth=looks["line"],
            markersize=3 * looks["line"], fillstyle="none", markevery=[2], **style,
        )  # fmt: skip
        axes.text(4.5 * letter, y, signed(labels[place]), transform=beside, va="center", color=style["color"])


def _below(labels: Sequence[str], width: float, looks: dict[str, float]) -> tuple[int, float]:
    """In how many columns names stand below a picture, and how high they are in inches."""
    across = max(1, int(width * 72 / looks["font"] / (0.6 * max(map(len, labels)) + 5)))
    return across, 1.35 * looks["font"] / 72 * (math.ceil(len(labels) / across) + 0.5)


def _legend(part: Any, curves: Sequence[Curve], labels: Sequence[str], across: int, looks: dict[str, float]) -> None:
    """The names, each behind a piece of its curve."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linewidth=looks["line"], markersize=3 * looks["line"], fillstyle="none", **look(place, curve))
        for place, curve in enumerate(curves)
    ]
    part.legend(
        handles, [signed(label) for label in labels], loc="center", ncols=across, frameon=False, handlelength=3.5,
        columnspacing=1.2, labelspacing=0.25, borderpad=0, fontsize=looks["font"],
    )  # fmt: skip


def apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Rising places as near to those that are wanted as may be, at least a gap from each other, about the middle."""
    blocks: list[list[float]] = []
    for place in wanted:
        blocks.append([place])
        while len(blocks) > 1 and _span(blocks[-1], gap)[0] - _span(blocks[-2], gap)[1] < gap:
            last = blocks.pop()
            blocks[-1] += last
    return [_span(block, gap)[0] + i * gap for block in blocks for i in range(len(block))]


def _span(block: Sequence[float], gap: float) -> tuple[float, float]:
    half = gap * (len(block) - 1) / 2
    middle = sum(block) / len(block)
    return middle - half, middle + half


def _save(figure: Any, path: Path, shown: Comparison, title: str) -> None:
    kind = path.suffix.lower()
    name = title or f"{', '.join(shown.names)}: loss and gradient"
    about = {
        ".pdf": {"CreationDate": None, "Title": name},
        ".svg": {"Date": None, "Title": name},
        ".png": {"Software": None},
    }
    if kind != ".svg":
        figure.savefig(path, format=kind[1:], metadata=about[kind])
        return
    made = io.StringIO()
    figure.savefig(made, format="svg", metadata=about[kind])
    curves = [
        f"{c.label}: " * bool(c.label) + " ".join(described(replace(c.line, name=""), c.raw)) for c in shown.curves
    ]
    said = signed(" ".join([shown.still, *curves]))
    end = f"<title>{escape(name, quote=False)}</title>"
    path.write_text(
        made.getvalue().replace(end, f"{end}<desc>{escape(said)}</desc>", 1).replace("<svg ", '<svg role="img" ', 1)
    )
