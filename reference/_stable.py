"""The few float64 primitives the references share; each is exact to rounding over the whole line."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Result = tuple[Array, dict[str, Array]]

# A NaN or an infinity is an answer about its own example, so producing one is no warning.
quiet = np.errstate(invalid="ignore", over="ignore", divide="ignore")


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


LIMIT = 60.0  # nats: from here on an exponential goes on along its tangent, so that it stays finite


def tangent_exp(x: Array) -> Array:
    """E(x): e^x up to LIMIT, and its tangent there from then on."""
    values: Array = tangent_exp_slope(x) * (1.0 + np.maximum(x - LIMIT, 0.0))
    return values


def tangent_exp_slope(x: Array) -> Array:
    """E'(x) = e^min(x, LIMIT)."""
    slopes: Array = np.exp(np.minimum(x, LIMIT))
    return slopes


def tangent_exp_gap(x: Array, y: Array, scale: float = 1.0) -> Array:
    """E(s x) - E(s y) = ±[E'(s high) (1 - e^-d) + e^LIMIT t], with d the way from low to high below LIMIT, t above."""
    high, low = scale * np.maximum(x, y), scale * np.minimum(x, y)
    apart = scale * np.abs(x - y)
    below = np.where(high <= LIMIT, apart, np.maximum(LIMIT - low, 0.0))
    above = np.where(low >= LIMIT, apart, np.maximum(high - LIMIT, 0.0))
    size: Array = tangent_exp_slope(high) * -np.expm1(-below) + np.exp(LIMIT) * above
    return np.where(x < y, -size, size)


def sigmoid_gap(x: Array, y: Array) -> Array:
    """σ(x) - σ(y) = ±σ(high) σ(-low) (1 - e^-|x - y|)."""
    apart = np.where(x == y, 0.0, np.abs(x - y))  # also of two infinities
    size = sigmoid(np.maximum(x, y)) * sigmoid(-np.minimum(x, y)) * -np.expm1(-apart)
    return np.where(x < y, -size, size)


def bernoulli_kl(x: Array, y: Array | float) -> Array:
    """KL(σ(x) || σ(y)) of Bernoullis = softplus(-y) - softplus(-x) + σ(-x) (y - x), both turned so that x >= 0."""
    side = np.where(x < 0.0, -1.0, 1.0)
    x, y = side * x, side * y
    return np.where(y == -np.inf, np.inf + x, softplus(-y) - softplus(-x) + times(sigmoid(-x), y - x))


def log1mexp(x: Array) -> Array:
    """log(1 - e^x) for x <= 0, -inf at 0."""
    return np.where(x > -np.log(2.0), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))


def relu_slope(x: Array) -> Array:
    """Derivative of max(0, x): 1 above the kink, 0 at it and below."""
    slopes: Array = np.heaviside(x, 0.0)
    return slopes
