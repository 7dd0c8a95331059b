"""PPO: Schulman et al. 2017, arXiv 1707.06347, eq. 7; dual clip: arXiv 1912.09729; cap: arXiv 2505.07291.

x = -min(r A, clip(r, 1 - ε_l, 1 + ε_h) A), r = e^d; at most c |A| where A < 0; r at most δ
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, clipped, member


@member(aggregation="token_mean", weighs=True)
def ppo_clip(
    one: One,
    *,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
    dual_clip: float | None = None,
    ratio_cap: float | None = None,
) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    # dx/dl = -A R'(d)
    ratio, slope = clipped(one, one.d, epsilon_low, epsilon_high, dual_clip, ratio_cap)
    return -one.a * ratio, np.diag(-one.a * slope)
