"""Loss and gradient of objectives against the margin, as a figure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from poz._extras import require
from poz.families import Layout, layout_of, named
from poz.objective import Objective
from poz.testing.answers import reference

Floats = npt.NDArray[np.float64]
LISTS = {2: [1.0, 0.0], 3: [1.0, 1.0, 0.0], 4: [1.0, 0.0, 0.0, 0.0]}
"""By the number of completions in a list: 1 for those that are as good as chosen."""


WIDE = "dfhz"
"""The axes of fields that hold several numbers for each completion or pair, which no margin stands for."""


def curve(objective: Objective, margins: Floats) -> tuple[Floats, Floats]:
    """Losses and the derivative of each with respect to the margin, from the float64 reference.

    The margin is the log-prob (of a reward model, the score) of chosen minus that of rejected in nats. The rejected one
    and everything else stands at 0: reference, opponents and calibration samples; lengths are 1, rewards 1 and 0. Without a
    reference a rejected log-prob stands at -10, for none is positive; and a score at minus half the margin, so that what
    centres scores is 0. A list of three has two as good as chosen, one of four has one.
    """
    losses, gradients = reference(objective, _batch(objective, margins))
    sides = layout_of(objective.family).sides
    if layout_of(objective.family).scores:  # both move, by half of the margin each
        return losses, (gradients[sides[0]] - gradients[sides[1]]) / 2
    first = next(iter(gradients.values())).reshape(len(margins), -1)
    return losses, first @ np.array(LISTS.get(first.shape[1], [1.0]))


def _batch(objective: Objective, z: Floats) -> Any:
    layout = layout_of(objective.family)
    if layout.paired and not layout.errors:
        if (layout.per_token or layout.scores) and layout.sides[1] not in objective.reads:
            raise ValueError(
                f"`{objective.name}` reads no {'score' if layout.scores else 'rejected completion'}, so there is no margin to "
                "draw it against."
            )
        beside = [name for name, (dims, _) in layout.shapes.items() if name in objective.reads and dims[-1] in WIDE]
        if beside:
            raise ValueError(
                f"`{objective.name}` reads {' and '.join(beside)}, on which its loss depends as on the margin, so there is no "
                "curve to draw it as."
            )
        return _read(objective, _pairs(objective, layout, z))
    if not layout.ranked:
        raise ValueError(
            f"`{objective.name}` reads {named(objective.family)}, which has no margin to draw it against. `poz list` says which "
            "read pairs or lists."
        )
    for chosen in LISTS.values():
        try:
            return _read(objective, _lists(objective, layout, z[:, None] * chosen, np.array(chosen)))
        except ValueError as error:  # not a list of this size
            refusal = error
    raise refusal


def _pairs(objective: Objective, layout: Layout, z: Floats) -> Any:
    fields = {}
    for name, (dims, content) in layout.shapes.items():
        if dims[-1] not in WIDE:
            shape = {"b": z.shape, "mb": (1, z.size), "c": z.shape}.get(dims, (z.size, 1))
            fields[name] = _plain(layout, name, content, shape)
    chosen, rejected = layout.sides
    if layout.scores:
        fields[rejected] = fields[rejected] - z / 2
    elif objective.reference_free and not layout.per_token:
        fields[rejected] = fields[rejected] - 10
    fields[chosen] = fields[rejected] + z.reshape(fields[chosen].shape)
    return objective.family(**fields)


def _lists(objective: Objective, layout: Layout, table: Floats, chosen: Floats) -> Any:
    held = {name: (content, dims) for name, (dims, content) in layout.shapes.items() if content != "mask"}
    fields = {
        name: _plain(layout, name, content, table.shape) for name, (content, dims) in held.items() if dims == "bk"
    }
    fields |= {name: 0 * table + chosen for name in fields if held[name][0] == "number"}
    return objective.family(**{**fields, layout.sides[0]: table})


def _plain(layout: Layout, name: str, content: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A field of examples that have nothing special."""
    kind = {"integer": np.int64, "mask": np.bool_}.get(content, np.float64)
    return np.full(shape, layout.plain.get(name, content not in ("logp", "feature", "integer")), kind)


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
        axes.set_xlabel("margin: chosen - rejected (nats)")
        axes.set_ylabel(label)
        axes.axvline(0, color="0.8", zorder=0)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)
