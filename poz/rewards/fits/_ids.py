"""Whose pair is it: ids of sources and annotators, by which sums are taken."""

from __future__ import annotations

from collections.abc import Callable

from poz.backends import Array, namespace


def sums(function: str, name: str, ids: Array, count: int, like: Array) -> Callable[[Array], Array]:
    """From (batch, width) rows to (count, width), the sums of those of each id; a row is nothing to another's sum.

    Args:
        function: For the sentences.
        name: What the ids are of.
        ids: (batch,) integers from 0.
        count: How many there are.
        like: (batch, ...) numbers, whose length and device the ids must have.

    Raises:
        TypeError: Ids that are no integers of the same library.
        ValueError: Another length or device, no id at all, or one out of range, where it can be read.
    """
    xp = namespace(like)
    if namespace(ids) is not xp or xp.kind(ids) != "integer":
        raise TypeError(f"{function} needs integer ids of {xp.name} for {name}; got {namespace(ids).name} {ids.dtype}.")
    if tuple(ids.shape) != tuple(like.shape[:1]):
        raise ValueError(f"{function} needs one {name} per pair, {tuple(like.shape[:1])}; got {tuple(ids.shape)}.")
    if xp.device(ids) != xp.device(like):
        raise ValueError(
            f"{function} got {name} on {xp.device(ids)} but scores on {xp.device(like)}; move them together."
        )
    if count < 1:
        raise ValueError(f"{function} needs one {name} at least; got {name}s={count}.")
    known = xp.values(ids)
    if known is not None and known.size and not 0 <= known.min() <= known.max() < count:
        raise ValueError(f"{name} must lie from 0 to {count - 1}; got {known.min()} to {known.max()}.")
    number = xp.astype(ids, like)
    known_id = (number >= 0) & (number < count)  # one that could not be read may be nobody's
    index = xp.where(known_id, ids, ids * 0)
    return lambda rows: xp.segment_sum(xp.where(known_id[:, None], rows, xp.constant(0.0, rows)), index, count)
