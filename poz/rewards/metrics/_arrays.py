"""What the arrays given to a metric must be, and what a comparison of them counts."""

from __future__ import annotations

import math

from poz.backends import Array, Namespace, namespace


def floating(name: str, x: Array) -> tuple[Namespace, Array]:
    """The library of floating-point numbers, and the numbers, those of 16 bits in float32.

    Raises:
        TypeError: No array, or one of other numbers.
    """
    xp = namespace(x)
    kind = xp.kind(x)
    if kind not in ("real", "half"):
        raise TypeError(f"{name} must be floating-point numbers; got {said(x)}.")
    return xp, xp.widen(x) if kind == "half" else x


def alike(**arrays: Array) -> tuple[Namespace, list[Array]]:
    """The library of floating-point arrays of one shape, and the arrays, those of 16 bits in float32.

    Raises:
        TypeError: No array, one of other numbers, or two libraries.
        ValueError: Two shapes, or two devices.
    """
    found = [floating(name, x) for name, x in arrays.items()]
    (xp, first), (lead, *_) = found[0], arrays
    for (name, _), (other, x) in zip(list(arrays.items())[1:], found[1:], strict=True):
        if other is not xp:
            raise TypeError(f"{lead} and {name} must be of one library; got {xp.name} and {other.name}.")
        if tuple(x.shape) != tuple(first.shape):
            raise ValueError(f"{lead} and {name} must have one shape; got {tuple(first.shape)} and {tuple(x.shape)}.")
        if xp.device(x) != xp.device(first):
            raise ValueError(f"{lead} is on {xp.device(first)} and {name} on {xp.device(x)}; move them to one device.")
    return xp, [x for _, x in found]


def masked(values: Array, mask: Array) -> Array:
    """The mask of an array.

    Raises:
        TypeError: No booleans of the same library.
        ValueError: Another shape.
    """
    xp = namespace(values)
    if namespace(mask) is not xp or xp.kind(mask) != "bool":
        raise TypeError(f"The mask of {xp.name} values must be booleans of {xp.name}; got {said(mask)}.")
    if tuple(mask.shape) != tuple(values.shape):
        raise ValueError(
            f"The mask must have one boolean per value, shape {tuple(values.shape)}; got {tuple(mask.shape)}."
        )
    return mask


def credit(xp: Namespace, ahead: Array, tie: float) -> Array:
    """1 where `ahead` is above 0, `tie` where it is 0, 0 below, NaN where it is NaN.

    Raises:
        ValueError: A tie that counts as less than 0 or more than 1.
    """
    if not 0 <= tie <= 1:
        raise ValueError(f"tie is what an equal pair counts, from 0 to 1; got {tie}.")
    tied, zero, nothing = (xp.constant(x, ahead) for x in (tie, 0.0, math.nan))
    below = xp.where(ahead < 0, zero, nothing)
    return xp.where(ahead > 0, xp.ones_like(ahead), xp.where(ahead == 0, tied, below))


def said(x: Array) -> str:
    """Library and type of the numbers."""
    return f"{namespace(x).name} {x.dtype}"


def positive(name: str, x: float) -> None:
    """Raises a ValueError for what is not a finite number above 0."""
    if not 0 < x < math.inf:
        raise ValueError(f"{name} must be above 0 and finite; got {x}.")
