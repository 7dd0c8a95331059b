"""The points that a line is drawn through: few where it is straight, many where it bends, both ends of a jump."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from poz.objective import Objective
from poz.plotting.lines import Floats, Line, lines

START, ROUNDS, NEAR = 33, 24, 0.003
"""Points to begin with, how often the gaps between them are halved, and the share of the height that none may miss."""


class Points(NamedTuple):
    """Where a line goes through: (points,) each, in order; losses and their slopes."""

    x: Floats
    loss: Floats
    slope: Floats


@lru_cache(maxsize=16)
def drawn(objective: Objective) -> list[tuple[Line, Points]]:
    """The lines of an objective and their points between their ends; see `poz.plotting.lines.lines` for errors."""
    return [(line, points(line, *line.ends)) for line in lines(objective)]


def points(line: Line, low: float, high: float) -> Points:
    """The line from `low` to `high`, so finely that straight pieces between its points are within `NEAR` of its height."""
    x = np.linspace(low, high, START)
    if low < 0 < high:
        x = np.union1d(x, [0.0])
    values = np.stack(line.at(x))
    fresh = np.ones(len(x) - 1, bool)
    for _ in range(ROUNDS):
        gaps = np.flatnonzero(fresh)
        if not len(gaps):
            break
        middle = (x[gaps] + x[gaps + 1]) / 2
        found = np.stack(line.at(middle))
        with np.errstate(all="ignore"):
            straight = (values[:, gaps] + values[:, gaps + 1]) / 2
            off = ~(np.abs(found - straight) <= NEAR * height(values)[:, None]).all(0)  # also where one is no number
        x = np.insert(x, gaps + 1, middle)
        values = np.insert(values, gaps + 1, found, axis=1)
        fresh = np.zeros(len(x) - 1, bool)
        places = gaps + np.arange(len(gaps))
        fresh[places[off]] = fresh[places[off] + 1] = True
    return _thinned(Points(x, *values))


def height(values: Floats) -> Floats:
    """(curves,) from the lowest to the highest number of each; 1 where it is flat."""
    finite = np.where(np.isfinite(values), values, np.nan)
    low, high = np.nanmin(finite, 1), np.nanmax(finite, 1)
    return np.where(high - low > 1e-12 * np.maximum(abs(low), abs(high)), high - low, 1.0)  # less is rounding


def _thinned(all_: Points) -> Points:
    """Without points that lie on the straight line between those that are kept."""
    xs, values = all_.x, np.stack(all_[1:])
    allowed = NEAR / 3 * height(values)
    kept, last = [0], 0
    for i in range(1, len(xs) - 1):
        share = (xs[last + 1 : i + 1] - xs[last]) / (xs[i + 1] - xs[last])
        with np.errstate(all="ignore"):
            straight = values[:, [last]] + share * (values[:, [i + 1]] - values[:, [last]])
            near = (np.abs(values[:, last + 1 : i + 1] - straight) <= allowed[:, None]).all()
        if not near or xs[i] == 0:
            kept.append(i)
            last = i
    kept.append(len(xs) - 1)
    return Points(*(column[kept] for column in all_))


def reach(curves: Iterable[tuple[Floats, Floats]]) -> tuple[float, float]:
    """The least and the most of curves (x, y); a pole in the first or last hundredth of one does not count."""
    whole, inner = [], []
    for x, y in curves:
        x, y = x[np.isfinite(y)], y[np.isfinite(y)]
        ends = x[0] + 0.01 * np.ptp(x), x[-1] - 0.01 * np.ptp(x)
        whole.append(y)
        inner += [y[(x > ends[0]) & (x < ends[1])], np.interp(ends, x, y)]
    every, core = np.concatenate(whole), np.concatenate(inner)
    used = every if np.ptp(every) <= 10 * np.ptp(core) else core
    return float(used.min()), float(used.max())
