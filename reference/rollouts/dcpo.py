"""DCPO: Yang et al. 2025, arXiv 2509.02333, eq. 4 and 8 of v2.

x = -min(r A, clip(r, r_l, r_h) A), r = e^d, at most c |A| where A < 0, with p the old probability
r_l = (1 + √max(1 - 4 ε_l / p, 0)) / 2,  r_h = min((1 + √(1 + 4 ε_h / p)) / 2, c)
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, clipped, member


@member(aggregation="sequence_mean", weighs=True)
def dcpo(
    one: One, *, epsilon_low: float = 0.16, epsilon_high: float = 0.2, ratio_cap: float = 10.0
) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    rare = np.exp(-one.o)
    below, above = (4 * eps * rare if eps > 0 else np.zeros(len(rare)) for eps in (epsilon_low, epsilon_high))
    low = (1 + np.sqrt(np.maximum(1 - below, 0.0))) / 2
    high = np.minimum((1 + np.sqrt(1 + above)) / 2, ratio_cap)
    # dx/dl = -A R'(d), the band being held
    ratio, slope = clipped(one, one.d, 1 - low, high - 1, ratio_cap)
    return -one.a * ratio, np.diag(-one.a * slope)
