"""DPO-Positive (DPOP, Smaug): Pal et al. 2024, arXiv 2402.13228.

a = log π(y_w) - log π_ref(y_w),  b = log π(y_l) - log π_ref(y_l)
L = -log σ(u),  u = β (a - b - λ max(0, -a))
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope, sigmoid, softplus, times


@quiet
def dpop(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.3,
    penalty: float = 50.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    a, b = chosen - ref_chosen, rejected - ref_rejected
    u = beta * (a - b - times(penalty, np.maximum(0.0, -a)))
    # dL/du = -σ(-u); du/da = β (1 + λ [a < 0]), du/db = -β
    slope = -beta * sigmoid(-u)
    up = slope * (1.0 + penalty * relu_slope(-a))
    return softplus(-u), {"chosen": up, "rejected": -slope, "ref_chosen": -up, "ref_rejected": slope}
