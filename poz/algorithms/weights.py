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

from poz._given import given
from poz.backends import namespace


@given
def towards(start: Mapping[str, Any], end: Mapping[str, Any], share: float) -> dict[str, Any]:
    """start + share (end - start) for every name: `start` at 0 and `end` at 1.

    What is a state of its own, such as an average, is kept as it comes back: 16-bit numbers come back in float32, since
    small steps would not move them. Integers and booleans, such as counters and masks, lie on no line: `end`'s are taken
    wherever there is a step.

    Args:
        start: Arrays by name, of any one library: a torch `state_dict`, or a dictionary of JAX or NumPy arrays.
        end: Arrays of the same names and shapes.
        share: In [0, 2): up to 1 it interpolates, above 1 it extrapolates.

    Raises:
        TypeError: Something is no array, or of two libraries.
        ValueError: The names or the shapes differ, or `share` is out of its domain.
    """
    if not 0 <= share < 2:
        raise ValueError(f"share must be at least 0 and below 2; got {share}. 1 is all the way.")
    if start.keys() != end.keys():
        raise ValueError(f"Both need the same names; only one has {sorted(start.keys() ^ end.keys())[:5]}.")
    return {name: _moved(name, start[name], end[name], share) for name in start}


def _moved(name: str, start: Any, end: Any, share: float) -> Any:
    try:
        xp, other = namespace(start), namespace(end)
    except TypeError as error:
        given = " and ".join(type(x).__name__ for x in (start, end))
        raise TypeError(f"{name!r} must be an array of NumPy, torch or JAX in both; got {given}.") from error
    if xp is not other:
        raise TypeError(f"{name!r} is an array of {xp.name} and one of {other.name}; give one library's.")
    if tuple(start.shape) != tuple(end.shape):
        raise ValueError(f"{name!r} has shape {tuple(start.shape)} and {tuple(end.shape)}; both need the same.")
    if xp.kind(start) not in ("half", "real"):
        return end if share else start
    start, end = (xp.widen(x) if xp.kind(x) == "half" else x for x in (start, end))
    return end if share == 1 else start + share * (end - start)
