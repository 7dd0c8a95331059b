"""The few float64 primitives the references share; each is exact to rounding over the whole line."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Result = tuple[Array, dict[str, Array]]

# A NaN or an infinity is an answer about its own example, so producing one is no warning.
quiet = np.errstate(invalid="ignore", over="ignore")


def softplus(z: Array) -> Array:
    """log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)."""
    values: Array = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))
    return values


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^-z), with only decaying exponentials."""
    decay = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, decay) / (1.0 + decay)


def logsumexp(z: Array) -> float:
    """Return log Σ e^z over a vector."""
    top = float(np.max(z))
    return top if np.isinf(top) else top + float(np.log(np.sum(np.exp(z - top))))


def softmax(z: Array) -> Array:
    """e^z / Σ e^z over a vector."""
    weights: Array = np.exp(z - np.max(z))
    return weights / np.sum(weights)


def times(weight: Array | float, value: Array) -> Array:
    """Return weight * value, where a weight of zero removes an infinity (0 * inf = 0) but keeps a NaN."""
    return np.where((np.asarray(weight) == 0.0) & ~np.isnan(value), 0.0, weight * value)


def tokens(length: Array | None, *, normalized: bool) -> Array:
    """What to divide a summed log-prob by: its length, an empty completion counting as 1; or 1 for plain sums."""
    if not normalized:
        return np.ones(())
    if length is None:
        raise ValueError("length normalization needs the number of tokens of each completion")
    counts: Array = np.maximum(length, 1.0)
    return counts
