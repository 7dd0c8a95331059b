"""GMPO: arXiv 2507.20673, eq. 4.

x = -A exp(mean of c), c = min(d, ε_h) where A > 0, else max(d, -ε_l); A the mean of the completion
"""

import numpy as np

from poz.reference._stable import Array, tangent_exp, tangent_exp_slope
from poz.reference.rollouts._completions import One, member, weighted


@member(aggregation="sequence_mean", weighs=True)
def gmpo(one: One, *, epsilon_low: float = 0.4, epsilon_high: float = 0.4) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    kept = np.where(one.a > 0, np.minimum(one.d, epsilon_high), np.maximum(one.d, -epsilon_low))
    size, worth = len(one.d), np.array(one.a.sum() / len(one.d))
    mean = weighted(one, kept.sum() / size)
    # dx_t/dl_s = -A w_t e^mean / T where c_s = d_s, else 0
    return -worth * tangent_exp(mean), np.outer(-worth * tangent_exp_slope(mean), (kept == one.d) / size)
