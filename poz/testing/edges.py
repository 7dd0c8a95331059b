"""Examples at the edges, where libraries differ: put into a drawn batch, and told apart from the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from poz.domains import Real
from poz.families import layout_of
from poz.objective import Objective
from poz.testing.draws import WIDEST, Deck

WINDOWS = {
    "softplus": (20.0, 22.0),  # beyond 20 torch's softplus is the identity, 2e-9 below the softplus
    "float32 overflow": (89.0, 103.0),  # e^x is infinite, and e^-x has no full digits left
    "float32 underflow": (104.0, 140.0),  # e^-x is 0
    "tiny": (1e-30, 1e-9),  # a probability that rounds to 1
    "float64 overflow": (710.0, 744.0),
    "float64 underflow": (746.0, 1000.0),
}
"""Sizes of β times a log-ratio, or of a score, in nats, around the ends of what a float, or somebody's softplus, can do."""

CONVENTIONS = {
    "empty": "completions of length 0, which counts as 1 here",
    "infinite": "infinite log-probs, which give the limit here and where a factor of 0 removes an infinity",
    "extreme": "log-ratios beyond 30 nats and tiny ones, where floats end",
}
"""What an implementation may do otherwise on purpose; `conform(..., without=[...])` draws none of it."""


def with_edges(
    objective: Objective, batch: Any, rng: np.random.Generator, deck: Deck, count: int, infinite: bool, dtype: str
) -> Any:
    """The batch with its last `count` examples at an edge: all log-ratios 0 but one, which is in a window, or infinite."""
    layout = layout_of(objective.family)
    shapes = layout.shapes
    there = {name: x.copy() for name, x in batch._asdict().items() if x is not None}
    held = {name: np.moveaxis(x, at, 0) for name, x in there.items() if (at := shapes[name][0].find("b")) >= 0}
    log_probs = [name for name in held if name in layout.policies()]
    if not log_probs:  # an embedding has no size in nats
        return batch
    kinds = ["infinite"] if infinite else [kind for kind in WINDOWS if dtype == "float64" or "float64" not in kind]
    edges = [(kind, name) for kind in kinds for name in log_probs]
    signs = (-1.0, 1.0) if layout.scores else (1.0,) if layout.errors else (-1.0,)
    for row in range(-count, 0):
        edge, moved = deck.draw("edge", edges, rng)
        low, high = WINDOWS[edge] if edge == "tiny" else (1e-3, 0.1)
        level = rng.uniform(np.log(low), np.log(high))
        sign = signs[rng.integers(len(signs))] if layout.scores else signs[0]
        for name, x in held.items():
            if name in log_probs:
                apart = rng.normal(0, 1, x[row].shape) if edge == "tiny" else 0.0
                x[row] = sign * np.exp(level + apart)
            elif name in layout.masks.values():
                x[row] = True
            elif name in layout.lengths.values():
                x[row] = 1
        if edge != "tiny":
            size = np.inf if infinite else min(rng.uniform(*WINDOWS[edge]) / _strength(objective), WIDEST)
            entries = held[moved][row:][:1].reshape(-1)  # a view
            entries[rng.integers(entries.size)] += sign * size
    return batch._replace(**there)


def conventions(objective: Objective, batch: Any) -> dict[str, npt.NDArray[np.bool_]]:
    """Which examples, (batch,), rest on which of `CONVENTIONS`, and which have which of the optional fields."""
    layout, size = layout_of(objective.family), 0
    infinite, empty = [], []
    for name, x in batch._asdict().items():
        if x is None or (at := layout.shapes[name][0].find("b")) < 0:
            continue
        size = x.shape[at]
        rows = np.moveaxis(x, at, 0).reshape(size, -1)
        if layout.shapes[name][1] == "logp":
            infinite.append(np.isinf(rows).any(1))
        elif name in layout.lengths.values():
            empty.append((rows == 0).any(1))
        elif layout.per_token and name in layout.masks.values():
            empty.append(~rows.any(1))
    found = {kind: np.any(rows, 0) for kind, rows in (("empty", empty), ("infinite", infinite)) if rows}
    given = {name: getattr(batch, name) is not None for name in sorted(objective.optional)}
    return found | {name: np.full(size, there) for name, there in given.items()}


def without_empty(batch: Any, certain: bool = True) -> Any:
    """The batch with one token in each completion that had none: a certain one, or of a log-prob of -1."""
    layout, changed = layout_of(type(batch)), {}
    for name, x in batch._asdict().items():
        if x is not None and name in layout.lengths.values():
            changed[name] = np.maximum(x, 1)
        elif x is not None and layout.per_token and name in layout.masks.values():
            changed[name] = x | (~x.any(-1, keepdims=True) & (np.arange(x.shape[-1]) == 0))
        elif x is not None and layout.shapes[name][1] == "logp" and not certain:
            changed[name] = np.where(x == 0, -1.0, x)
    return batch._replace(**changed)


def one_alone(batch: Any, example: int) -> Any:
    """The batch with one of its examples."""
    at = {name: layout_of(type(batch)).shapes[name][0].find("b") for name in batch._fields}
    kept = {n: x.take([example], at[n]) for n, x in batch._asdict().items() if x is not None and at[n] >= 0}
    return batch._replace(**kept)


def _strength(objective: Objective) -> float:
    """β by whatever name: the first hyper-parameter per nat, of the objective or of its base."""
    for name, param in objective.params.items():
        value = objective.values[name]
        if isinstance(value, Objective):
            return _strength(value)
        if isinstance(param.domain, Real) and param.domain.unit == "1/nat" and isinstance(value, float) and value > 0:
            return value
    return 1.0
