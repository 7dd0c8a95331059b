"""GRPO: Shao et al. 2024, arXiv 2402.03300, eq. 3 and 4.

x = -min(r A, clip(r, 1 - ε_l, 1 + ε_h) A), r = e^d, and β (e^x - x - 1) with x = log π_ref - l
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, clipped, member


@member(aggregation="sequence_mean", weighs=True, kl_weight=0.04)
def grpo(one: One, *, epsilon_low: float = 0.2, epsilon_high: float = 0.2) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    # dx/dl = -A R'(d)
    ratio, slope = clipped(one, one.d, epsilon_low, epsilon_high)
    return -one.a * ratio, np.diag(-one.a * slope)
