"""Loss and gradient of objectives against the margin, as a figure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poz.families import Pairs, Ranked, TokenPairs
from poz.objective import Objective
from poz.testing.conformance import reference

Floats = npt.NDArray[np.float64]


def curve(objective: Objective, margins: Floats) -> tuple[Floats, Floats]:
    """Losses and the derivative of each with respect to the margin, from the float64 reference.

    The margin is the log-prob of chosen minus that of rejected in nats. The rejected one and everything else stands at
    0: reference, opponents and calibration samples; lengths are 1, rewards 1 and 0.
    """
    losses, gradients = reference(objective, _batch(objective, margins))
    first = next(iter(gradients.values()))
    return losses, first.reshape(len(margins), -1)[:, 0]


def _batch(objective: Objective, z: Floats) -> Any:
    zero, one = np.zeros_like(z), np.ones_like(z)
    if objective.family is Pairs:
        full = Pairs(
            z,
            zero,
            zero,
            zero,
            one,
            one,
            one,
            one,
            zero.astype(np.int64),
            zero[None],
            zero[None],
            zero,
            zero,
        )
    elif objective.family is TokenPairs:
        full = TokenPairs(z[:, None], zero[:, None], zero[:, None], zero[:, None])  # type: ignore[assignment]
    else:
        pair = np.stack([z, zero], -1)
        rewards = np.stack([one, zero], -1)
        full = Ranked(pair, 0 * pair, 0 * pair + 1, rewards)  # type: ignore[assignment]
    unread = [name for name in full._fields if name not in objective.reads]
    return full._replace(**dict.fromkeys(unread))


def plot(objectives: Iterable[Objective], path: Path, widest: float = 10.0) -> None:
    """Writes a PNG, PDF or SVG with losses on the left and gradients on the right; needs matplotlib."""
    from matplotlib.figure import Figure

    margins = np.linspace(-widest, widest, 801)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for objective in objectives:
        losses, slope = curve(objective, margins)
        left.plot(margins, losses, label=objective.name)
        right.plot(margins, slope, label=objective.name)
    for axes, label in ((left, "loss (nats)"), (right, "d loss / d margin")):
        axes.set_xlabel("margin: log-prob of chosen - rejected (nats)")
        axes.set_ylabel(label)
        axes.axvline(0, color="0.8", zorder=0)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)
