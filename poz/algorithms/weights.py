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
from poz.backends import Namespace, namespace


@given
def towards(start: Mapping[str, Any], end: Mapping[str, Any], share: float) -> dict[str, Any]:
    """start + share (end - start) for every name: `start` at 0 and `end` at 1.

    What is a state of its own, such as an average, is kept as it comes back: 16-bit numbers come back in float32, since
    small steps would not move them. Integers and booleans, such as counters and masks, lie on no line: `end`'s are taken
    wherever there is a step. What is equal in both, such as the -inf of a mask, stays. What comes back has memory of its
    own, while a torch `state_dict` is the model itself: one that is kept from an earlier round has to be a copy.

    Args:
        start: Arrays by name, of any one library: a torch `state_dict`, or a dictionary of JAX or NumPy arrays.
        end: Arrays of the same names and shapes.
        share: In [0, 2): up to 1 it interpolates, above 1 it extrapolates.

    Raises:
        TypeError: Something is no dense array of real numbers, integers or booleans, or of two libraries.
        ValueError: The names, the shapes or the devices differ, or `share` is out of its domain.
    """
    if not 0 <= share < 2:
        raise ValueError(f"share must be at least 0 and below 2; got {share}. 1 is all the way.")
    if start.keys() != end.keys():
        raise ValueError(f"Both need the same names; only one has {sorted(start.keys() ^ end.keys())[:5]}.")
    return {name: _moved(name, start[name], end[name], share) for name in start}


def _moved(name: str, start: Any, end: Any, share: float) -> Any:
    xp = _checked(name, start, end)
    if xp.kind(start) in _ON_A_LINE:
        start, end = (xp.widen(x) if xp.kind(x) == "half" else x for x in (start, end))
        if 0 != share != 1:
            still, zero = start == end, xp.constant(0.0, start)  # inf - inf would be NaN
            return start + share * (xp.where(still, zero, end) - xp.where(still, zero, start))
    kept = end if share else start
    return kept.clone() if xp.name == "torch" else kept.copy()


_ON_A_LINE = ("half", "real")


def _checked(name: str, start: Any, end: Any) -> Namespace:
    try:
        xp, other = namespace(start), namespace(end)
    except TypeError as error:
        given = " and ".join(type(x).__name__ for x in (start, end))
        raise TypeError(
            f"{name!r} must be an array of NumPy, torch or JAX in both; got {given}. Flatten what is nested to names."
        ) from error
    if xp is not other:
        raise TypeError(f"{name!r} is an array of {xp.name} and one of {other.name}; give one library's.")
    if tuple(start.shape) != tuple(end.shape):
        raise ValueError(f"{name!r} has shape {tuple(start.shape)} and {tuple(end.shape)}; both need the same.")
    for layout in (getattr(x, "layout", None) for x in (start, end)):
        if "sparse" in str(layout):
            raise TypeError(f"{name!r} must be dense; got {layout}. Convert it with .to_dense().")
    if xp.device(start) != xp.device(end):
        raise ValueError(f"{name!r} is on {xp.device(start)} and on {xp.device(end)}; move them together.")
    kinds = [xp.kind(x) for x in (start, end)]
    if "other" in kinds:
        raise TypeError(
            f"{name!r} holds {start.dtype} and {end.dtype}: no real numbers. Give real and imaginary parts."
        )
    if (kinds[0] in _ON_A_LINE) != (kinds[1] in _ON_A_LINE):
        raise TypeError(
            f"{name!r} holds {start.dtype} and {end.dtype}: counters, which lie on no line, must be counters in both."
        )
    return xp
