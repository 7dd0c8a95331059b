"""Parameters moved along a line: what reference syncing, Nash-EMA and Nesterov's acceleration do to a model.

One function covers them. For `start` and `end` with the same names, `towards(start, end, share)` is

| recipe | start | end | share |
|---|---|---|---|
| TR-DPO, soft update every few steps (arXiv 2404.09656) | reference | policy | 0.5 to 0.6 |
| TR-DPO, hard update; iterative DPO's next round | reference | policy | 1 |
| Nash-EMA's opponent, every step (arXiv 2312.00886) | average | policy | 1 - decay, such as 1e-3 |
| accelerated PO, after each round: `poz.algorithms.apo_nesterov` | last round | this round | 1 + alpha, alpha in [0, 1) |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def towards(start: Mapping[str, Any], end: Mapping[str, Any], share: float) -> dict[str, Any]:
    """start + share (end - start) for every name: `start` at 0 and exactly `end` at 1.

    Args:
        start: Arrays by name, of any one library: a torch `state_dict`, or a dictionary of JAX or NumPy arrays.
        end: Arrays of the same names and shapes.
        share: Any number; between 0 and 1 it interpolates, above 1 it extrapolates.

    Raises:
        ValueError: The names differ.
    """
    if start.keys() != end.keys():
        raise ValueError(f"Both need the same names; only one has {sorted(start.keys() ^ end.keys())[:5]}.")
    if share == 1:
        return dict(end)
    return {name: start[name] + share * (end[name] - start[name]) for name in start}
