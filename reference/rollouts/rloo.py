"""RLOO with PPO clipping: Ahmadian et al. 2024, arXiv 2402.14740; the clip is TRL's.

x = -min(W A, clip(W, 1 - ε_l, 1 + ε_h) A), W = exp(Σ d)
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, clipped, member


@member(aggregation="sequence_mean", weighs=True)
def rloo(one: One, *, epsilon_low: float = 0.2, epsilon_high: float = 0.2) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    # s = e^m, m = Σ d: dm/dl_s = 1, the same for every token
    size = len(one.d)
    ratio, slope = clipped(one, one.d.sum(), epsilon_low, epsilon_high)
    return -one.a * ratio, np.outer(-one.a * slope, np.full(size, 1.0))
