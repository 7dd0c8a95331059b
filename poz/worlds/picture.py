"""The heat map: what is left of the reference's regret, by objective and world."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poz._extras import require
from poz.worlds import WORLDS
from poz.worlds.report import Cell, Results, cells, mark
from poz.zoo import zoo

TITLE = "What is left of the reference's regret: 0 is the best policy, 1 the reference"
DARK = 0.5
"""Shares below which the colour is dark."""


def needs() -> None:
    """Raises ImportError without the extra `plot`."""
    require("The heat map", "plot", "matplotlib")


def heat_map(results: Results, path: Path) -> None:
    """A number in each cell, and beside it + or - where it is better or worse than the baseline of its family.

    Raises:
        ImportError: Without the extra `plot`.
    """
    needs()
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "poz", "svg.fonttype": "none", "font.size": 7}):
        figure = _drawn(results)
        more = {"Date": None, "Description": results["digest"], "Title": TITLE} if path.suffix == ".svg" else {}
        figure.savefig(path, bbox_inches="tight", metadata=more, dpi=150)


def _drawn(results: Results) -> Any:
    from matplotlib.figure import Figure

    found = cells(results)
    worlds = [name for name in WORLDS if any(world == name for _, world in found)]
    groups = _groups(found)
    heights = [len(names) for _, names in groups]
    figure = Figure(
        figsize=(1.6 + 0.62 * len(worlds), 1.4 + 0.17 * sum(heights) + 0.3 * len(groups)), layout="constrained"
    )
    figure.suptitle(TITLE + "\n+ better, - worse than the baseline of the family beyond 95 %; ·: left out by name")
    axes = figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
    for place, (axis, (family, names)) in enumerate(zip(axes, groups, strict=True)):
        shares = [[found[name, w].share.mean if (name, w) in found else math.nan for w in worlds] for name in names]
        axis.imshow(shares, vmin=0, vmax=1.2, cmap="cividis", aspect="auto")
        axis.set_title(family, loc="left", weight="bold", fontsize=8)
        axis.set_yticks(range(len(names)), names)
        axis.set_xticks(range(len(worlds)), [w.replace("_", "\n") for w in worlds] if place == 0 else [])
        axis.tick_params(top=False, labeltop=place == 0, bottom=False, labelbottom=False, left=False)
        for (row, name), (column, world) in itertools.product(enumerate(names), enumerate(worlds)):
            cell = found.get((name, world))
            text = "·" if cell is None else f"{cell.share.mean:.2f}{mark(cell)}"
            color = "white" if cell is not None and cell.share.mean < DARK else "black"
            weight = "bold" if cell is not None and mark(cell) == "+" else "normal"
            axis.text(column, row, text, ha="center", va="center", color=color, weight=weight)
    return figure


def _groups(found: Mapping[tuple[str, str], Cell]) -> list[tuple[str, list[str]]]:
    """Families, and in each the objectives, that with the least regret first, over the worlds in which all of them run."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for name, _ in found):
        groups.setdefault(zoo[name].family.__name__, []).append(name)

    def left(name: str) -> float:
        family = groups[zoo[name].family.__name__]
        return sum(found[name, world].share.mean for world in WORLDS if all((one, world) in found for one in family))

    return [(family, sorted(names, key=left)) for family, names in groups.items()]
