"""LUSPO: arXiv 2602.05261, second hand.

x = -min(s A, clip(s, 1 - ε_l, 1 + ε_h) A), s = exp(mean of d over the completion), summed over its tokens
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, clipped, member


@member(aggregation="sequence_sum", weighs=True)
def luspo(one: One, *, epsilon_low: float = 0.002, epsilon_high: float = 0.0025) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    # s = e^m, m = mean d: dm/dl_s = 1/T, the same for every token
    size = len(one.d)
    ratio, slope = clipped(one, one.d.sum() / size, epsilon_low, epsilon_high)
    return -one.a * ratio, np.outer(-one.a * slope, np.full(size, 1 / size))
