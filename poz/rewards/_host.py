"""What is decided on the host: finite float64 numbers and places in them, or a sentence that says what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


def finite(name: str, given: npt.ArrayLike, dims: str = "n") -> Floats:
    """Float64 numbers with as many dimensions as `dims` names.

    Raises:
        ValueError: Other dimensions, or a number that is not finite.
    """
    found = np.asarray(given, np.float64)
    if found.ndim != len(dims.split()):
        raise ValueError(f"{name} must have the shape ({dims.replace(' ', ', ')}); got {found.shape}.")
    if not np.all(np.isfinite(found)):
        raise ValueError(f"{name} must be finite; got {found[~np.isfinite(found)][0]}.")
    return found


def shares(name: str, given: npt.ArrayLike, dims: str = "n") -> Floats:
    """The same within [0, 1].

    Raises:
        ValueError: As of `finite`, or a number outside [0, 1].
    """
    found = finite(name, given, dims)
    outside = found[(found < 0) | (found > 1)]
    if outside.size:
        raise ValueError(f"{name} must lie in [0, 1]; got {outside[0]}.")
    return found


def places(name: str, given: npt.ArrayLike, size: int, dims: str = "n") -> Places:
    """Integers from 0 below `size`.

    Raises:
        TypeError: Numbers that are no integers.
        ValueError: Other dimensions, or no such place.
    """
    found: npt.NDArray[Any] = np.asarray(given)
    if found.size and found.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, from 0 below {size}; got {found.dtype}.")
    if found.ndim != len(dims.split()):
        raise ValueError(f"{name} must have the shape ({dims.replace(' ', ', ')}); got {found.shape}.")
    if found.size and not (found.min() >= 0 and found.max() < size):
        raise ValueError(f"{name} must lie from 0 to {size - 1}; got {found.min()} to {found.max()}.")
    return found.astype(np.intp)
