"""TOPR: Le Roux et al. 2025, arXiv 2503.14286, eq. 8 as others quote it.

x = -sg[w] A l, w = 1 where A > 0, else min(1, Π_s e^(d_s)), or of the token alone
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, member


@member(aggregation="sequence_sum")
def topr(one: One, *, level: str = "sequence") -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    log_w = one.d if level == "token" else np.full(len(one.d), one.d.sum())
    weight = np.where(one.a > 0, 1.0, np.exp(np.minimum(log_w, 0.0)))
    # dx/dl = -w A, and e^l l is 0 where l is -∞
    return np.where((weight == 0) | (one.a == 0), 0.0, -weight * one.a * one.l), np.diag(-weight * one.a)
