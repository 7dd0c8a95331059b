"""Loss and gradient of objectives against the margin, as a figure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poz._extras import require
from poz.families import Pairs, Ranked, TokenPairs
from poz.objective import Objective
from poz.testing.conformance import reference

Floats = npt.NDArray[np.float64]
LISTS = {2: [1.0, 0.0], 3: [1.0, 1.0, 0.0], 4: [1.0, 0.0, 0.0, 0.0]}
"""By the number of completions in a list: 1 for those that are as good as chosen."""


def curve(objective: Objective, margins: Floats) -> tuple[Floats, Floats]:
    """Losses and the derivative of each with respect to the margin, from the float64 reference.

    The margin is the log-prob of chosen minus that of rejected in nats. The rejected one and everything else stands at
    0: reference, opponents and calibration samples; lengths are 1, rewards 1 and 0. Without a reference the rejected
    one stands at -10, for no log-prob is positive; a list of three has two as good as chosen, one of four has one.
    """
    losses, gradients = reference(objective, _batch(objective, margins))
    first = next(iter(gradients.values())).reshape(len(margins), -1)
    return losses, first @ np.array(LISTS.get(first.shape[1], [1.0]))


def _batch(objective: Objective, z: Floats) -> Any:
    if objective.family is TokenPairs and "rejected" not in objective.reads:
        raise ValueError(f"`{objective.name}` reads no rejected completion, so there is no margin to draw it against.")
    zero, one = np.zeros_like(z), np.ones_like(z)
    if objective.family is Pairs:
        rejected = zero - 10 if objective.reference_free else zero
        full = Pairs(
            rejected + z,
            rejected,
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
            one / np.e,
        )
    elif objective.family is TokenPairs:
        tokens: dict[str, Any] = dict.fromkeys(TokenPairs._fields, zero[:, None]) | {"chosen": z[:, None]}
        for side in ("chosen", "rejected"):
            tokens |= {
                f"{side}_weights": one[:, None],
                f"{side}_mask": one[:, None] > 0,
                f"{side}_changed": one[:, None] < 0,
            }
        full = TokenPairs(**tokens)  # type: ignore[assignment]
    elif objective.family is not Ranked:
        raise ValueError(
            f"`{objective.name}` reads poz.{objective.family.__name__}, which has no margin to draw it against."
        )
    else:
        for chosen in LISTS.values():
            table = z[:, None] * chosen
            try:
                return _read(objective, Ranked(table, 0 * table, 0 * table + 1, 0 * table + chosen))
            except ValueError as error:  # not a list of this size
                refusal = error
        raise refusal
    return _read(objective, full)


def _read(objective: Objective, full: Any) -> Any:
    batch = full._replace(**{name: None for name in full._fields if name not in objective.reads})
    objective(batch)
    return batch


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
        axes.set_xlabel("margin: log-prob of chosen - rejected (nats)")
        axes.set_ylabel(label)
        axes.axvline(0, color="0.8", zorder=0)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)
