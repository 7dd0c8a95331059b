"""Rewards shaped one by one, with or without those of reference responses to the same prompt.

Preference As Reward and the shapers it is compared with: Fu et al. 2025, arXiv 2502.18770, as in the authors' code
(PorUna-byte/PAR@b8caf40, trainers/reward_shaper.py). `rewards` is of any shape (...), `references` (..., M) holds the
rewards of M >= 1 reference responses to the same prompt, and what comes back has the shape, the library and the device
of `rewards`; 16-bit numbers are computed with and returned in float32. A score of a reward model has no unit: of it, k
is the inverse. NaN stays in its example, an infinite reward gives the limit. References are data: give them without a
graph. All raise TypeError for what is no floating-point array, and ValueError for shapes that do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from poz._given import given
from poz.backends import Array, Namespace
from poz.rewards._arrays import root, same_shape, scores
from poz.terms import masked

Shape = Callable[[Namespace, Array], Array]


@given
def par(rewards: Array, references: Array, *, scale: float = 1.0, shift: float = 0.0) -> Array:
    """Preference As Reward, (1/M) Σ_m σ(k (r - shift - r_m)): how probably the response beats a reference response.

    Of slope at most k / 4, so no reward buys more. A shift of 3 is the paper's SGFC, slow growth and then fast
    convergence. `poz.algorithms.winrates.from_rewards` is the same for K completions at a time.

    Args:
        rewards: (...) r.
        references: (..., M) r_m; the code takes 10, the paper finds 1 enough.
        scale: k > 0.
        shift: By how much a response must be better to count as equal, in the unit of the rewards.

    Returns:
        (...) in (0, 1).

    Raises:
        TypeError, ValueError: Above, and a scale that is not positive.
    """
    scale = _positive("par", scale)
    return _against("par", rewards, references, lambda xp, x: xp.sigmoid(scale * (x - shift)))


@given
def centered(rewards: Array, references: Array) -> Array:
    """r - (1/M) Σ_m r_m: better than the reference on average by so much, unbounded.

    Args:
        rewards: (...) r.
        references: (..., M) r_m.

    Returns:
        (...) in the unit of the rewards.
    """
    return _against("centered", rewards, references, lambda xp, x: x)


@given
def sigmoid(rewards: Array, *, scale: float = 1.0) -> Array:
    """σ(k r), which saturates around 0, wherever the rewards of the references lie.

    Args:
        rewards: (...) r.
        scale: k > 0.

    Returns:
        (...) in (0, 1).
    """
    scale = _positive("sigmoid", scale)
    return _against("sigmoid", rewards, None, lambda xp, x: xp.sigmoid(scale * x))


@given
def tanh(rewards: Array, references: Array = None) -> Array:
    """The hyperbolic tangent of r, or with references the mean of those of r - r_m, the relative tanh.

    Args:
        rewards: (...) r.
        references: (..., M) r_m, or None.

    Returns:
        (...) in (-1, 1).
    """
    return _against("tanh", rewards, references, _tanh)


@given
def arctan(rewards: Array, references: Array = None) -> Array:
    """The arc tangent of r, or with references the mean of those of r - r_m, the relative arctan.

    Args:
        rewards: (...) r.
        references: (..., M) r_m, or None.

    Returns:
        (...) in (-π/2, π/2).
    """
    return _against("arctan", rewards, references, lambda xp, x: xp.arctan(x))


@given
def polynomial(rewards: Array, references: Array = None) -> Array:
    """The polynomial of degree 5 that fits σ best at 100 points of [-5, 5]; 0 and 1 beyond. Of r, or of r - r_m.

    Not monotone: it rises within (-5, 5), and falls by .011 where it is cut at -5 and at 5. It is here to be compared with.

    Args:
        rewards: (...) r.
        references: (..., M) r_m, over which the values are averaged, or None.

    Returns:
        (...) in (-.011, 1.011).
    """
    return _against("polynomial", rewards, references, _polynomial)


@given
def lsc(rewards: Array, references: Array, *, quantile: float = 0.85) -> Array:
    """Log-sigmoid centred, log σ(r - q), q the quantile of a normal with the mean and deviation of the references.

    q = mean + z (s + 1e-5), z = 1.036 for .85, s the sample deviation (ddof = 1); s = 0 for one reference, as in the
    code, which takes all references, not the first M. Its log(σ) is -∞ below -745 in float64, log σ here is exact.

    Args:
        rewards: (...) r.
        references: (..., M) r_m.
        quantile: In (0, 1).

    Returns:
        (...) below 0, in nats.

    Raises:
        TypeError, ValueError: Above, and a quantile outside (0, 1).
    """
    if not 0 < quantile < 1:
        raise ValueError(f"lsc needs a quantile between 0 and 1; got {quantile}.")
    xp, rewards, references = _fitting("lsc", rewards, references)
    count = references.shape[-1]
    mean = xp.sum(references, -1) / count
    spread = root(xp, xp.sum((references - mean[..., None]) ** 2, -1) / max(count - 1, 1))
    return xp.log_sigmoid(rewards - mean - NormalDist().inv_cdf(quantile) * (spread + 1e-5))


@given
def ceiling(rewards: Array, *, most: float) -> Array:
    """min(r, most), of slope 1 up to and at the ceiling, and 0 above it.

    Args:
        rewards: (...) r.
        most: The ceiling, in the unit of the rewards.

    Returns:
        (...) at most `most`.
    """
    if math.isnan(most):
        raise ValueError("ceiling needs a number for most; got nan.")
    xp, rewards = scores("ceiling", rewards=rewards)
    return xp.where(rewards > most, xp.constant(most, rewards), rewards)


@given
def length_penalty(rewards: Array, lengths: Array, *, slope: float = 0.01, free: float = 300) -> Array:
    """r - slope max(0, length - free): what is longer than `free` tokens pays for each more.

    The authors' code does so before any shaper, unless the reward model has a length head.

    Args:
        rewards: (...) r.
        lengths: (...) tokens of the responses, integers or floating-point, at least 0.
        slope: At least 0, reward per token.
        free: Tokens without a price.

    Returns:
        (...) in the unit of the rewards.

    Raises:
        TypeError, ValueError: Above, a negative slope, or a negative length.
    """
    if not slope >= 0:
        raise ValueError(f"slope must be at least 0, or length would be paid for; got {slope}.")
    xp, rewards = scores("length_penalty", rewards=rewards)
    if not xp.is_array(lengths) or xp.kind(lengths) not in ("integer", "real", "half"):
        found = getattr(lengths, "dtype", type(lengths).__name__)
        raise TypeError(f"length_penalty needs numbers of tokens for lengths, an array of {xp.name}; got {found}.")
    same_shape("length_penalty", rewards=rewards, lengths=lengths)
    lengths = xp.astype(lengths, rewards)
    known = xp.values(lengths)
    if known is not None and (known < 0).any():
        raise ValueError(f"length_penalty needs lengths of 0 or more; got {known[known < 0][0]}.")
    return rewards - slope * xp.relu(lengths - free)


_X = np.linspace(-5, 5, 100)
_ODD = np.linalg.lstsq(_X[:, None] ** np.array([1, 3, 5]), np.tanh(_X / 2) / 2, rcond=None)[0].tolist()
"""Of x, x³ and x⁵: σ - 1/2 is odd, so the even ones of a fit on points that lie evenly are 0."""


def _polynomial(xp: Namespace, x: Array) -> Array:
    inside = masked(xp, x, abs(x) < 5)  # powers of what is outside would overflow
    first, third, fifth = _ODD
    square = inside * inside
    fit = 0.5 + inside * (first + square * (third + square * fifth))
    return xp.where(x >= 5, xp.ones_like(x), xp.where(x <= -5, 0 * inside, xp.where(x == x, fit, x)))


def _tanh(xp: Namespace, x: Array) -> Array:
    below = xp.expm1(2 * xp.where(x > 0, -x, x))  # (e^2x - 1) / (e^2x + 1) for x <= 0, and odd
    value = below / (2 + below)
    return xp.where(x > 0, -value, value)


def _positive(function: str, scale: float) -> float:
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive, or a better response would not gain; {function} got {scale}.")
    return scale


def _against(function: str, rewards: Array, references: Array, shape: Shape) -> Array:
    """The shape of r, or the mean of the shapes of r - r_m."""
    if references is None:
        xp, rewards = scores(function, rewards=rewards)
        return shape(xp, rewards)
    xp, rewards, references = _fitting(function, rewards, references)
    return xp.sum(shape(xp, rewards[..., None] - references), -1) / references.shape[-1]


def _fitting(function: str, rewards: Array, references: Array) -> tuple[Namespace, Array, Array]:
    xp, rewards, references = scores(function, rewards=rewards, references=references)
    if tuple(references.shape[:-1]) != tuple(rewards.shape) or not references.ndim or not references.shape[-1]:
        raise ValueError(
            f"{function} needs references of shape (..., M), M >= 1 for each of the rewards (...); got "
            f"{tuple(references.shape)} for rewards {tuple(rewards.shape)}."
        )
    return xp, rewards, references
