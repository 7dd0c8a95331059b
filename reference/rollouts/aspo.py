"""ASPO: Wang et al. 2025, arXiv 2510.06062, as in the authors' code.

A >= 0: p = min(r, 1 + ε_h),  x = -A p / sg[p]²,  or -A c l where 1 / p > c, the positive one
A < 0:  p = max(r, 1 - ε_l),  x = -A p,           or -A c l where p > c, the negative one;  r = e^d
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, member


@member(aggregation="token_mean")
def aspo(
    one: One,
    *,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
    cap_positive: float = 3.0,
    cap_negative: float = 3.0,
) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    x, slope = np.zeros(len(one.l)), np.zeros(len(one.l))
    for t, (new, d, a) in enumerate(zip(one.l, one.d, one.a, strict=True)):
        if a == 0:
            x[t] = np.nan if np.isnan(d) else 0.0
            continue
        kept = min(d, np.log1p(epsilon_high)) if a > 0 else max(d, np.log1p(-epsilon_low))
        log_weight, cap = (-kept, cap_positive) if a > 0 else (kept, cap_negative)
        if log_weight > np.log(cap):
            # d(-A c l)/dl = -A c
            x[t], slope[t] = -a * cap * new, -a * cap
        else:
            # d(p / sg[p]²)/dl = 1 / p and dp/dl = p, both the value; 0 where p is clipped
            x[t] = np.nan if np.isnan(d) else -a * np.exp(log_weight)
            slope[t] = x[t] if kept == d else 0.0
    return x, np.diag(slope)
