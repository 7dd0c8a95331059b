"""GSPO: Zheng et al. 2025, arXiv 2507.18071, eq. 5 to 7.

x = -min(s A, clip(s, 1 - ε_l, 1 + ε_h) A), s = exp(mean of d over the completion)
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, clipped, member


@member(aggregation="sequence_mean", weighs=True)
def gspo(one: One, *, epsilon_low: float = 0.0003, epsilon_high: float = 0.0004) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    # s = e^m, m = mean d: dm/dl_s = 1/T, the same for every token
    size = len(one.d)
    ratio, slope = clipped(one, one.d.sum() / size, epsilon_low, epsilon_high)
    return -one.a * ratio, np.outer(-one.a * slope, np.full(size, 1 / size))
