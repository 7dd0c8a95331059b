"""Figures for papers, by matplotlib."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from poz._extras import require
from poz.objective import Objective
from poz.plotting.lines import curve


def plot(objectives: Iterable[Objective], path: Path, widest: float = 10.0) -> None:
    """Writes a PNG, PDF or SVG with losses on the left and gradients on the right; needs matplotlib."""
    require("A plot", "plot", "matplotlib")
    from matplotlib.figure import Figure

    margins = np.linspace(-widest, widest, 801)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for objective in objectives:
        losses, slope = curve(objective, margins)
        left.plot(margins, losses, label=objective.name)
        right.plot(margins, slope, label=objective.name)
    for axes, label in ((left, "loss (nats)"), (right, "d loss / d margin")):
        axes.set_xlabel("margin: chosen - rejected (nats)")
        axes.set_ylabel(label)
        axes.axvline(0, color="0.8", zorder=0)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)
