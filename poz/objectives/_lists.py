"""What the objectives on ranked lists share: log-ratios, and a log-sum over some of them that never overflows."""

from __future__ import annotations

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.families import Ranked


def log_ratios(xp: Namespace, lists: Ranked) -> tuple[Array, Array]:
    """log(π/π_ref), 0 at padding, and which entries are valid; both (batch, K)."""
    if lists.mask is None:
        return lists.logps - lists.ref_logps, xp.ones_like(lists.logps) > 0
    policy, reference = (terms.masked(xp, x, lists.mask) for x in (lists.logps, lists.ref_logps))
    return policy - reference, lists.mask


def better(xp: Namespace, lists: Ranked, valid: Array, value: Array) -> tuple[Array, Array]:
    """Which i has a higher score than which j, both valid, (batch, i, j); and `value`, NaN where the score is.

    An unknown score is in every pair of its own, with itself too, so the loss of its list is unknown.
    """
    known = xp.where(valid, xp.astype(lists.scores, value), xp.constant(0.0, value))
    above = ~(known[..., :, None] <= known[..., None, :])
    unknown = xp.where(known == known, xp.ones_like(known), known)
    return above & valid[..., :, None] & valid[..., None, :], value * unknown


def check_descending(xp: Namespace, objective: str, lists: Ranked) -> None:
    """Refuses scores that are not best first, where they can be read; a NaN is in no order."""
    scores, mask = xp.values(lists.scores), None if lists.mask is None else xp.values(lists.mask)
    if scores is None or (mask is None and lists.mask is not None):
        return
    kept = np.where(True if mask is None else mask, scores, np.inf)  # padding never exceeds what stands before it
    best_left = np.minimum.accumulate(kept, axis=-1)
    rising = np.where(True if mask is None else mask, scores > best_left, False)
    if rising.any():
        row = tuple(int(i) for i in np.argwhere(rising)[0])
        raise ValueError(
            f"`{objective}` needs scores in descending order, best first; row {row[:-1]} rises at position {row[-1]}. "
            "Sort the list."
        )


def lead(beta: Array, ratio: Array) -> Array:
    """s_j - s_i for s = β log(π/π_ref), (batch, i, j); β comes last, since near log-ratios subtract exactly."""
    return beta * (ratio[..., None, :] - ratio[..., :, None])


def places(xp: Namespace, valid: Array, like: Array) -> Array:
    """1, 2, ... along the valid entries of each list."""
    return xp.cumsum(xp.astype(valid, like), -1)


def log_one_plus_sum(xp: Namespace, beta: Array, ratio: Array, own: Array, picked: Array) -> Array:
    """log(1 + Σ e^(β (ratio - own))) over the picked entries of the last axis; 0 where there is none."""
    zero, never = xp.constant(0.0, ratio), xp.constant(-np.inf, ratio)
    worst = xp.amax(xp.where(picked, beta * (ratio - own[..., None]), never), -1)
    certain = abs(worst) == np.inf  # nobody is picked, or an impossible completion decides
    top = xp.where(certain, zero, xp.stop_gradient(xp.amax(xp.where(picked, ratio, never), -1)))
    above = xp.where(picked, beta * (ratio - top[..., None]), never)  # so that no large log-ratio rounds the total
    rest = xp.logsumexp(xp.where(certain[..., None], zero, above), -1)
    lead = beta * (top - xp.where(certain, zero, own))
    return xp.where(certain, xp.relu(worst), xp.softplus(lead + rest))
