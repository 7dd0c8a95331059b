"""Which tokens a covariance over the batch chooses."""

from __future__ import annotations

from typing import Any

import numpy as np

from poz.backends import Array
from poz.objectives.rollouts._steps import Steps


def covariance(at: Steps) -> tuple[Array, Array]:
    """(batch, tokens) (A - mean A)(l - mean l), held constant, and the sum of the two means, which are over the batch.

    That is NaN where a log-prob or an advantage is, so that nobody knows which tokens are chosen.
    """
    xp = at.xp
    zero, number = xp.constant(0.0, at.logps), xp.maximum(xp.sum(at.valid.reshape(-1)), 1.0)
    both = [xp.where(at.valid > 0, xp.stop_gradient(x), zero) for x in (at.advantages, at.logps)]
    means = [xp.sum(x.reshape(-1)) / number for x in both]
    return (both[0] - means[0]) * (both[1] - means[1]), means[0] + means[1]


def first(at: Steps, key: Array, among: Array, share: Any) -> Array:
    """Whether a token is of the max(1, ⌊share n⌋) with the smallest keys `among` these; n are all tokens of the batch."""
    xp = at.xp
    flat = xp.where(among, key, xp.constant(np.inf, key)).reshape(-1)
    rank = xp.astype(xp.argsort(xp.argsort(flat)), key) + 1
    most = xp.maximum(share * xp.sum(at.valid.reshape(-1)), 1.0)
    return (rank <= most).reshape(key.shape) & among
