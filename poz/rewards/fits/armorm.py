"""ArmoRM: attributes read off the features of a reward model, cleared of verbosity, mixed by a gate that sees the prompt.

    found = ridge_by_validation(features, labels, held_out_features, held_out_labels)
    rewards = features_of_pairs @ found.weights.T                          # (..., attributes)
    cleared = verbosity_penalties(rewards, verbosity=4)
    rewards = debias(rewards, cleared.penalty, verbosity=4)
    loss = gated_loss(rewards_c, rewards_r, gate(prompt_features)).mean()  # gate: any network to (batch, attributes)

Source: Wang et al. 2024, arXiv 2406.12845, and RLHFlow/RLHF-Reward-Modeling@fc39179 (armo-rm/stage-1_train.py and
stage-2_train.py, whose training computes the penalties and does not apply them). The fits are on the host, in float64;
the rest is on NumPy, torch and JAX. Correlations are SciPy's: pip install 'poz[rewards]'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poz._extras import require
from poz._given import given
from poz.backends import Array
from poz.rewards._arrays import scores
from poz.rewards._host import Floats, finite

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
"""The authors' penalties of the regression."""

PENALTIES = (
    *(0.0, 0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45),
    *(0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
)
"""The authors' penalties of verbosity, 0 to .95."""


class Ridge(NamedTuple):
    """Weights of the attributes and how they were chosen.

    Attributes:
        weights: (attributes, width); rewards are features @ weights.T.
        penalty: (attributes,) what had the least loss, the first of equals.
        losses: (attributes, penalties) mean squared errors on the held-out rows.
    """

    weights: Floats
    penalty: Floats
    losses: Floats


class Cleared(NamedTuple):
    """How much of the verbosity is taken from each attribute.

    Attributes:
        penalty: (attributes,) c; 1 for verbosity itself, which leaves 0, and where no smaller one was enough.
        correlation: (attributes,) Spearman's, of r - c r_verbosity with r_verbosity. Above the bound where c is 1 for
            want of a better one.
    """

    penalty: Floats
    correlation: Floats


@given
def ridge(features: npt.ArrayLike, labels: npt.ArrayLike, penalty: npt.ArrayLike) -> Floats:
    """w_a = (Z'Z + α I)^-1 Z'y of each attribute on the rows that label it, without an intercept.

    By the singular values of those rows, so that neither many features nor a small α do harm: their number times width
    times the smaller of both, once for attributes that label the same rows. At α = 0 the shortest of the least-squares fits.

    Args:
        features: (rows, width) Z.
        labels: (rows, attributes) y, NaN where a row has no label.
        penalty: α >= 0, one number or (attributes,).

    Returns:
        (attributes, width).

    Raises:
        ValueError: Features that are not finite, an attribute without a label, a negative penalty, or shapes that differ.
    """
    z, y = _labelled("", features, labels)
    alpha = np.asarray(penalty, np.float64)
    if alpha.shape not in ((), y.shape[1:]):
        raise ValueError(f"penalty must be one number or one per attribute, {y.shape[1:]}; got shape {alpha.shape}.")
    alpha = finite("penalty", np.broadcast_to(alpha, y.shape[1:]), "attributes")
    if np.any(alpha < 0):
        raise ValueError(f"penalty must be at least 0; got {alpha.min()}.")
    weights = np.empty((y.shape[1], z.shape[1]))
    for attributes, rows in _alike(y):
        parts = _parts(z[rows], y[rows][:, attributes])
        weights[attributes] = _solved(*parts, alpha[attributes])
    return weights


@given
def ridge_by_validation(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    held_out_features: npt.ArrayLike,
    held_out_labels: npt.ArrayLike,
    *,
    penalties: npt.ArrayLike = RIDGES,
) -> Ridge:
    """`ridge` with the penalty of each attribute that has the least mean squared error on held-out rows.

    Args:
        features: (rows, width).
        labels: (rows, attributes), NaN where a row has no label.
        held_out_features: (held-out rows, width); the authors hold out a fifth.
        held_out_labels: (held-out rows, attributes).
        penalties: (penalties,) α >= 0.

    Raises:
        ValueError: As of `ridge`, of either set of rows; or no penalty.
    """
    (z, y), (zh, yh) = _labelled("", features, labels), _labelled("held_out_", held_out_features, held_out_labels)
    if (z.shape[1], y.shape[1]) != (zh.shape[1], yh.shape[1]):
        raise ValueError(
            f"Held-out rows must have {z.shape[1]} features and {y.shape[1]} labels; got {zh.shape[1]} and {yh.shape[1]}."
        )
    alphas = finite("penalties", penalties, "penalties")
    if not alphas.size or np.any(alphas < 0):
        raise ValueError(f"penalties must be at least 0, one or more; got {alphas.tolist()}.")
    weights, losses = np.empty((y.shape[1], z.shape[1])), np.empty((y.shape[1], len(alphas)))
    for attributes, rows in _alike(y):
        parts = _parts(z[rows], y[rows][:, attributes])
        tried = np.stack([_solved(*parts, np.full(len(attributes), alpha)) for alpha in alphas])
        for i, a in enumerate(attributes):
            seen = ~np.isnan(yh[:, a])
            losses[a] = np.mean((zh[seen] @ tried[:, i].T - yh[seen, a][:, None]) ** 2, 0)
            weights[a] = tried[np.argmin(losses[a]), i]
    return Ridge(weights, alphas[np.argmin(losses, 1)], losses)


@given
def verbosity_penalties(
    rewards: npt.ArrayLike, *, verbosity: int, most: float = 0.03, penalties: npt.ArrayLike = PENALTIES
) -> Cleared:
    """The smallest c of each attribute at which Spearman's correlation of r - c r_verbosity with r_verbosity is `most`.

    Signed: an attribute that falls with verbosity needs no penalty. One without variance has no order, and counts as
    uncorrelated.

    Args:
        rewards: (completions, attributes) of a reference set.
        verbosity: Place of the attribute that measures verbosity, from 0; 4 of the authors' 19.
        most: The correlation that may stay; .03 in the authors' script, .028 in its function.
        penalties: (penalties,) c >= 0 to try, in any order.

    Raises:
        ImportError: SciPy is missing.
        ValueError: Rewards that are not finite, no such attribute, verbosity that does not vary, or no penalty.
    """
    r, tried = (
        finite("rewards", rewards, "completions attributes"),
        np.sort(finite("penalties", penalties, "penalties")),
    )
    if not 0 <= verbosity < r.shape[1]:
        raise ValueError(f"verbosity is the place of an attribute, from 0 to {r.shape[1] - 1}; got {verbosity}.")
    if not tried.size or tried[0] < 0:
        raise ValueError(f"penalties must be at least 0, one or more; got {tried.tolist()}.")
    if not -1 <= most <= 1:
        raise ValueError(f"most is a correlation, in [-1, 1]; got {most}.")
    long = r[:, verbosity]
    if not np.any(long != long[:1]):
        raise ValueError(f"Verbosity has no order in {len(long)} rewards that do not vary; give more completions.")
    penalty, correlation = np.ones(r.shape[1]), np.zeros(r.shape[1])
    for a in range(r.shape[1]):
        if a != verbosity:
            for c in (*tried, 1.0):
                penalty[a], correlation[a] = c, _spearman(r[:, a] - c * long, long)
                if correlation[a] <= most:
                    break
    return Cleared(penalty, correlation)


@given
def debias(rewards: Array, penalty: npt.ArrayLike, *, verbosity: int) -> Array:
    """r - c r_verbosity, which leaves 0 of verbosity itself where its c is 1, as `verbosity_penalties` has it.

    Args:
        rewards: (..., attributes).
        penalty: (attributes,) c.
        verbosity: Place of the attribute that measures verbosity.

    Raises:
        TypeError: No floating-point array.
        ValueError: Not one penalty per attribute, or no such attribute.
    """
    xp, rewards = scores("debias", rewards=rewards)
    c = finite("penalty", penalty, "attributes")
    if not rewards.ndim or rewards.shape[-1] != len(c):
        raise ValueError(f"debias needs (..., {len(c)}) rewards for {len(c)} penalties; got {tuple(rewards.shape)}.")
    if not 0 <= verbosity < len(c):
        raise ValueError(f"verbosity is the place of an attribute, from 0 to {len(c) - 1}; got {verbosity}.")
    return rewards - xp.constant(c, rewards) * rewards[..., verbosity : verbosity + 1]


def _labelled(prefix: str, features: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Floats]:
    z, y = finite(f"{prefix}features", features, "rows width"), np.asarray(labels, np.float64)
    if y.ndim != 2 or len(y) != len(z):
        raise ValueError(f"{prefix}labels must have the shape (rows, attributes), {len(z)} rows; got {y.shape}.")
    if np.any(np.isinf(y)):
        raise ValueError(f"{prefix}labels must be finite, or NaN where there is none; got {y[np.isinf(y)][0]}.")
    if not z.shape[1]:
        raise ValueError(f"{prefix}features must have one column at least; got shape {z.shape}.")
    unlabelled = np.flatnonzero(np.isnan(y).all(0))
    if unlabelled.size:
        raise ValueError(
            f"Attribute {unlabelled[0]} has no {'held-out ' if prefix else ''}label; leave its column out."
        )
    return z, y


def _alike(y: Floats) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]]:
    """The attributes that label the same rows, and these: one decomposition serves them."""
    masks, which = np.unique(~np.isnan(y).T, axis=0, return_inverse=True)
    for i, rows in enumerate(masks):
        yield np.flatnonzero(which.reshape(-1) == i), rows


def _parts(z: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Z = U S V' and U'y: what a penalty needs to know."""
    u, s, vt = np.linalg.svd(z, full_matrices=False)
    s = np.where(s > np.finfo(float).eps * max(z.shape) * np.max(s, initial=0.0), s, 0.0)  # rank, as NumPy's lstsq
    return s, vt, u.T @ y


def _solved(s: Floats, vt: Floats, uy: Floats, alpha: Floats) -> Floats:
    """(attributes, width) V S / (S² + α) U'y."""
    below = s[:, None] ** 2 + alpha
    return np.asarray((np.where(below > 0, s[:, None] / np.where(below > 0, below, 1.0), 0.0) * uy).T @ vt)


def _spearman(x: Floats, y: Floats) -> float:
    require("poz.rewards.fits", "rewards", "scipy")
    from scipy.stats import spearmanr

    return float(spearmanr(x, y)[0]) if np.any(x != x[0]) else 0.0
