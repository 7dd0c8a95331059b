"""CISPO: MiniMax 2025, arXiv 2506.13585, eq. 4 and 5.

x = -sg[clip(r, 1 - ε_l, 1 + ε_h)] A l, r = e^d
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, member


@member(aggregation="token_mean")
def cispo(one: One, *, epsilon_low: float = 1.0, epsilon_high: float = 0.28) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    # dx/dl = -clip(r) A
    weight = np.exp(np.clip(one.d, np.log1p(-epsilon_low), np.log1p(epsilon_high)))
    return -weight * one.a * one.l, np.diag(-weight * one.a)
