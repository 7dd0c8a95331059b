"""DPPO, binary total variation: arXiv 2602.04879, as in verl.

x = -sg[m min(r, c)] A l, r = e^d; m = 1 where p - p_old <= δ_h for A > 0, where p - p_old >= -δ_l else
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, member


@member(aggregation="token_mean")
def dppo_tv(
    one: One, *, divergence_low: float = 0.2, divergence_high: float = 0.2, ratio_cap: float = 20.0
) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    moved = np.exp(one.l) - np.exp(one.o)
    outside = np.where(one.a > 0, moved > divergence_high, moved < -divergence_low)
    # dx/dl = -m min(r, c) A, and e^(l - o) l is 0 where l is -∞
    weight = np.where(outside, 0.0, np.exp(np.minimum(one.d, np.log(ratio_cap))))
    return np.where(weight == 0, 0.0, -weight * one.a * one.l), np.diag(-weight * one.a)
