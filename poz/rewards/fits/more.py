"""MORE: the weights of several sources of preferences, by which a step on the reward head makes none of them worse.

    scores_c, scores_r = features_c @ head, features_r @ head            # (batch,)
    found = head_gradients(features_c, features_r, scores_c, scores_r, source, sources=3)
    weights = min_norm_weights(found.gradients, present=found.count > 0)   # data, by which no gradient flows
    losses = source_losses(scores_c, scores_r, source, sources=3)
    loss = sum(w * l for w, l in zip(weights, losses))

λ = argmin |Σ_t λ_t g_t|² over the simplex (multiple-gradient descent, Désidéri 2012), with g_t the gradients of the head
alone. For the shortest point n of the hull n·g_t >= |n|² for every t, so a step along -n lowers every loss at once.
It ends where no loss can fall without another one rising: of sources that differ in how sure they are alone, at the least sure.
Source: Zeng et al. 2023, arXiv 2312.07401, and dunzeng/MORE@94c54e4 (trainer.py, min_norm_solvers.py, utils.py). Theirs
keeps the weights of two sources within [.001, .999] where the end of the segment is the shortest; ours are 0 and 1. Their
running mean of gradients begins at a random head, ours at the first gradient. They count each pair once in either order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poz._extras import require
from poz._given import given
from poz._nearest import meant
from poz.backends import Array, Namespace
from poz.rewards._arrays import same_shape, scores
from poz.rewards._host import Floats, finite
from poz.rewards.fits._ids import sums

NORMALISED = ("none", "l2", "loss", "loss+")


class HeadGradients(NamedTuple):
    """What each source asks of a linear reward head, as data.

    Attributes:
        gradients: (sources, width) of the mean Bradley-Terry loss of each source; 0 where it has no pair.
        count: (sources,) pairs of each, a number of the kind of the scores.
    """

    gradients: Array
    count: Array


@given
def source_losses(chosen: Array, rejected: Array, source: Array, *, sources: int) -> Array:
    """(sources,) mean Bradley-Terry loss -log σ(r_c - r_r) of each source, in nats; 0, of no slope, without a pair.

    Args:
        chosen: (batch,) scores.
        rejected: (batch,) scores.
        source: (batch,) integer ids from 0.
        sources: How many there are, one at least.

    Raises:
        TypeError: Scores that are no floating-point arrays of one library, or ids that are no integers of it.
        ValueError: Shapes that differ, or an id that is no source, where it can be read.
    """
    xp, chosen, rejected = scores("source_losses", chosen=chosen, rejected=rejected)
    of_each = _of_each("source_losses", chosen, rejected, source, sources)
    losses = xp.softplus(rejected - chosen)[:, None]
    return _means(xp, of_each(losses), of_each(xp.ones_like(losses)))[:, 0]


@given
def head_gradients(
    chosen_features: Array, rejected_features: Array, chosen: Array, rejected: Array, source: Array, *, sources: int
) -> HeadGradients:
    """The gradient of each of `source_losses` in the weights w of the head, r = w·f: mean of -σ(r_r - r_c) (f_c - f_r).

    No graph is needed, and a bias of the head, which cancels, has none.

    Args:
        chosen_features: (batch, width) f of the chosen completions, what the head is applied to.
        rejected_features: (batch, width) those of the rejected ones.
        chosen: (batch,) their scores.
        rejected: (batch,) their scores.
        source: (batch,) integer ids from 0.
        sources: How many there are, one at least.

    Raises:
        TypeError: What are no floating-point arrays of one library, or ids that are no integers of it.
        ValueError: Shapes that differ, or an id that is no source, where it can be read.
    """
    xp, chosen_features, rejected_features, chosen, rejected = scores(
        "head_gradients",
        chosen_features=chosen_features, rejected_features=rejected_features, chosen=chosen, rejected=rejected,
    )  # fmt: skip
    same_shape("head_gradients", chosen_features=chosen_features, rejected_features=rejected_features)
    of_each = _of_each("head_gradients", chosen, rejected, source, sources)
    if chosen_features.ndim != 2 or chosen_features.shape[0] != chosen.shape[0]:
        raise ValueError(
            f"head_gradients needs features of the shape (batch, width), batch {chosen.shape[0]}; "
            f"got {tuple(chosen_features.shape)}."
        )
    slopes = -xp.sigmoid(rejected - chosen)[:, None] * (chosen_features - rejected_features)
    count = of_each(xp.ones_like(chosen)[:, None])
    return HeadGradients(xp.stop_gradient(_means(xp, of_each(slopes), count)), count[:, 0])


@given
def average_gradients(
    mean: npt.ArrayLike | None, gradients: npt.ArrayLike, *, rate: float, present: npt.ArrayLike | None = None
) -> Floats:
    """m <- (1 - rate) m + rate g, of each source that is present; the others stay. The first mean is the gradient.

    Args:
        mean: (sources, width) of the steps before, or None at the first. A source that was absent so far has the mean 0,
            and should be absent for `min_norm_weights` too.
        gradients: (sources, width) of this step.
        rate: In (0, 1]; 1, the authors' default, forgets at once.
        present: (sources,) booleans; None where all are.

    Raises:
        ValueError: A rate outside (0, 1], gradients that are not finite, or shapes that differ.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate is the share of the new gradient, in (0, 1]; got {rate}.")
    now = finite("gradients", gradients, "sources width")
    before = now if mean is None else finite("mean", mean, "sources width")
    if before.shape != now.shape:
        raise ValueError(f"mean and gradients must have one shape; got {before.shape} and {now.shape}.")
    here = _present(present, len(now))[:, None]
    if mean is None:
        return np.where(here, now, 0.0)
    return np.where(here, (1 - rate) * before + rate * now, before)


@given
def min_norm_weights(
    gradients: npt.ArrayLike,
    *,
    present: npt.ArrayLike | None = None,
    normalise: str = "none",
    losses: npt.ArrayLike | None = None,
) -> Floats:
    """λ >= 0 of sum 1, for which Σ_t λ_t g_t is the shortest point n of the hull of the gradients. NumPy, on the host.

    Two gradients have a closed form, λ_1 = clip(g_2·(g_2 - g_1) / |g_1 - g_2|², 0, 1); for more, SciPy's non-negative
    least squares solve min |Σ u_t g_t|² + (Σ u_t - 1)², whose u is λ but for its sum, and which is exact but for
    rounding. n·g_t >= |n|² - 1e-12 max |g|² is looked at, not assumed. n is unique; λ is where the gradients are in
    general position. Equal gradients share their weight equally, and the order of the sources does not matter. A
    gradient of 0 is the shortest point and gets all the weight: a source that the batch lacks has to be absent.

    Args:
        gradients: (sources, width), in the host's memory.
        present: (sources,) booleans; a source that is absent gets 0. None where all are present.
        normalise: "none"; "l2", g / |g|; "loss", g Σ(L + 1) / (L + 1); "loss+", g / (|g| L). A gradient of 0 stays.
        losses: (sources,) L >= 0 of the last two; above 0 for "loss+".

    Raises:
        ImportError: SciPy is missing, for three different gradients and more.
        ValueError: Gradients that are not finite, no source, another normalisation, or one without its losses.
        ArithmeticError: Rounding that leaves n too long.
    """
    g = finite("gradients", gradients, "sources width")
    here = _present(present, len(g))
    if not np.any(here):
        raise ValueError(f"min_norm_weights needs a source that is present; got gradients of shape {g.shape}.")
    g = _normalised(g[here], normalise, None if losses is None else _of_present(losses, here))
    largest = float(np.max(np.abs(g), initial=0.0))
    g = g / largest if largest else g  # so that no square overflows
    points, which, count = np.unique(g + 0.0, axis=0, return_inverse=True, return_counts=True)
    weights = np.zeros(len(here))
    weights[here] = (_shortest(points) / count)[which.reshape(-1)]
    return weights


def _shortest(points: Floats) -> Floats:
    """The weights of different points."""
    if len(points) == 1:
        return np.ones(1)
    if len(points) == 2:
        first = np.clip(points[1] @ (points[1] - points[0]) / np.sum((points[0] - points[1]) ** 2), 0.0, 1.0)
        return np.array([first, 1 - first])
    require("poz.rewards.fits", "rewards", "scipy")
    from scipy.optimize import nnls

    unit = np.sqrt(np.max(np.sum(points**2, 1)))
    table = np.vstack([np.linalg.qr(points.T / unit, mode="r"), np.ones(len(points))])
    found, _ = nnls(table, np.eye(len(table))[-1])
    weights = found / found.sum()
    shortest = weights @ points / unit
    short_of = shortest @ shortest - np.min(points @ shortest) / unit
    if not short_of <= 1e-12:
        raise ArithmeticError(f"The weights of {len(points)} gradients are not found: n is {short_of:.1e} too long.")
    return np.asarray(weights)


def _normalised(g: Floats, how: str, losses: Floats | None) -> Floats:
    if how not in NORMALISED:
        raise ValueError(f"normalise is one of {', '.join(NORMALISED)}; got {how!r}.{meant(how, NORMALISED)}")
    if how in ("l2", "loss+"):
        norms = np.linalg.norm(g, axis=1)
        g = g / np.where(norms > 0, norms, 1.0)[:, None]
    if not how.startswith("loss"):
        return g
    if losses is None:
        raise ValueError(f'"{how}" divides by the losses of the sources; give losses=..., (sources,).')
    if np.any(losses < 0) or (how == "loss+" and not np.all(losses)):
        raise ValueError(f'"{how}" needs losses {"above" if how == "loss+" else "of at least"} 0; got {losses.min()}.')
    return np.asarray(g / (losses if how == "loss+" else (losses + 1) / np.sum(losses + 1))[:, None])


def _of_present(losses: npt.ArrayLike, here: npt.NDArray[np.bool_]) -> Floats:
    found = np.asarray(losses, np.float64)
    if found.shape != here.shape:
        raise ValueError(f"losses must be one per source, ({len(here)},); got shape {found.shape}.")
    return finite("losses", found[here], "sources")


def _present(present: npt.ArrayLike | None, count: int) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[Any] = np.ones(count, bool) if present is None else np.asarray(present)
    if found.shape != (count,) or found.dtype != bool:
        raise ValueError(f"present must be one boolean per source, ({count},); got {found.dtype} of {found.shape}.")
    return found


def _means(xp: Namespace, total: Array, count: Array) -> Array:
    """(sources, width) sums over (sources, 1) counts; 0 of none."""
    return total / xp.where(count > 0, count, xp.ones_like(count))


def _of_each(function: str, chosen: Array, rejected: Array, source: Array, sources: int) -> Callable[[Array], Array]:
    same_shape(function, chosen=chosen, rejected=rejected)
    if chosen.ndim != 1:
        raise ValueError(f"{function} needs scores of the shape (batch,); got {tuple(chosen.shape)}.")
    return sums(function, "source", source, sources, chosen)
