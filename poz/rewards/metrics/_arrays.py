"""What the arrays given to a metric must be, and what a comparison of them counts."""

from __future__ import annotations

import math
from typing import Any

from poz.backends import Array, Namespace, namespace
from poz.rewards._arrays import same_shape, scores


def alike(function: str, **named: Array) -> tuple[Any, ...]:
    """The backend and the arrays: floating-point, of one library, one device and one shape; 16 bits become 32.

    Raises:
        TypeError: No array, one of other numbers, or two libraries.
        ValueError: Two devices, or two shapes.
    """
    same = scores(function, **named)
    same_shape(function, **named)
    return same


def masked(values: Array, mask: Array) -> Array:
    """The mask of an array.

    Raises:
        TypeError: No booleans of the same library.
        ValueError: Another shape.
    """
    xp = namespace(values)
    if namespace(mask) is not xp or xp.kind(mask) != "bool":
        raise TypeError(
            f"The mask of {xp.name} values must be booleans of {xp.name}; got {namespace(mask).name} {mask.dtype}."
        )
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


def positive(name: str, x: float) -> None:
    """Raises a ValueError for what is not a finite number above 0."""
    if not 0 < x < math.inf:
        raise ValueError(f"{name} must be above 0 and finite; got {x}.")
