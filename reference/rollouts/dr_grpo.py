"""Dr. GRPO: Liu et al. 2025, arXiv 2503.20783.

x = -min(r A, clip(r, 1 - ε_l, 1 + ε_h) A), r = e^d, summed and divided by one number
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, clipped, member


@member(aggregation="sequence_sum", weighs=True, length=3000.0)
def dr_grpo(one: One, *, epsilon_low: float = 0.2, epsilon_high: float = 0.2) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    # dx/dl = -A R'(d)
    ratio, slope = clipped(one, one.d, epsilon_low, epsilon_high)
    return -one.a * ratio, np.diag(-one.a * slope)
