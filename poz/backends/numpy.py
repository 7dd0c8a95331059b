"""NumPy primitives; see `poz.backends`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Real = Any

name = "numpy"

exp, log, expm1, log1p, arctan, where, maximum, minimum, clip, cumsum, ones_like = (
    np.exp,
    np.log,
    np.expm1,
    np.log1p,
    np.arctan,
    np.where,
    np.maximum,
    np.minimum,
    np.clip,
    np.cumsum,
    np.ones_like,
)


def sigmoid(x: Real) -> Real:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def softplus(x: Real) -> Real:
    """log(1 + exp(x)) = -log sigmoid(-x)."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def log_sigmoid(x: Real) -> Real:
    """-softplus(-x)."""
    return -softplus(-x)


def relu(x: Real) -> Real:
    """max(x, 0)."""
    return np.maximum(x, 0.0)


def sum(x: Real, axis: int | None = None) -> Real:  # noqa: A001
    """Sum over one axis, or over all."""
    return np.sum(x, axis=axis)


def mean(x: Real) -> Real:
    """Mean over everything."""
    return np.mean(x)


def amax(x: Real, axis: int) -> Real:
    """Largest value along an axis."""
    return np.max(x, axis=axis)


def logsumexp(x: Real, axis: int) -> Real:
    """Log-sum-exp along an axis that has at least one entry above -inf."""
    top = np.max(x, axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.sum(np.exp(x - top), axis=axis))


def stop_gradient(x: Real) -> Real:
    """NumPy has no gradients to stop."""
    return x


def argsort(x: Real) -> Real:
    """Order of the last axis, ascending; equal entries stay in order."""
    return np.argsort(x, axis=-1, kind="stable")


def whole(x: Real) -> Real:
    """The same array: here it is whole already."""
    return x


def concatenate(parts: Sequence[Real], axis: int) -> Real:
    """Join along an axis."""
    return np.concatenate(parts, axis=axis)


def gather(table: Real, index: Real) -> Real:
    """`table[index]` along the first axis."""
    return table[index]


def segment_sum(x: Real, index: Real, size: int) -> Real:
    """Sums of the entries with the same index."""
    sums = np.zeros((size, *x.shape[1:]), x.dtype)
    np.add.at(sums, index, x)
    return sums


def constant(value: npt.ArrayLike, like: Real) -> Real:
    """`value` in the dtype of `like`."""
    return np.asarray(value, dtype=like.dtype)


def astype(x: Real, like: Real) -> Real:
    """`x` in the dtype of `like`."""
    return x.astype(like.dtype)


def integers(x: Real) -> Real:
    """`x` in 64 bit."""
    return x.astype(np.int64)


def is_array(x: object) -> bool:
    """Arrays and NumPy scalars."""
    return isinstance(x, np.ndarray | np.generic)


def kind(x: Real) -> str:
    """See `poz.backends.Namespace.kind`."""
    code = x.dtype.kind
    if code == "f":
        return "half" if x.dtype.itemsize < 4 else "real"
    if x.dtype.name.startswith(("bfloat16", "float8")):
        return "half"
    return {"i": "integer", "u": "integer", "b": "bool"}.get(code, "other")


def widen(x: Real) -> Real:
    """A 16-bit array in 32 bit."""
    return x.astype(np.float32)


def device(x: Real) -> object:
    """NumPy arrays live in one place."""
    return None


def readable(x: Real) -> bool:
    """Always."""
    return True


def values(x: Real) -> npt.NDArray[Any] | None:
    """The array itself."""
    return np.asarray(x)
