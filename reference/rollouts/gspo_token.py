"""GSPO-token: Zheng et al. 2025, arXiv 2507.18071, eq. 13 and 14.

x = -min(s A, clip(s, 1 - ε_l, 1 + ε_h) A), s = sg[exp(mean of d)] e^(l - sg l)
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, clipped, member


@member(aggregation="sequence_mean", weighs=True)
def gspo_token(one: One, *, epsilon_low: float = 0.0003, epsilon_high: float = 0.0004) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    # ds/dl = s, of the token's own log-prob alone
    ratio, slope = clipped(one, one.d.sum() / len(one.d), epsilon_low, epsilon_high)
    return -one.a * ratio, np.diag(-one.a * slope)
