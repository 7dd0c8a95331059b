"""MinorDPO: arXiv 2408.09834; a rejected completion below the reference is pushed no further.

a = log π(y_w) - log π_ref(y_w),  b = log π(y_l) - log π_ref(y_l)
L = -log σ(β (a - max(0, b)))
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope, sigmoid, softplus


@quiet
def minor_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    a, b = chosen - ref_chosen, rejected - ref_rejected
    u = beta * (a - np.maximum(0.0, b))
    # dL/da = -β σ(-u), dL/db = β σ(-u) [b > 0]
    up, down = -beta * sigmoid(-u), beta * sigmoid(-u) * relu_slope(b)
    return softplus(-u), {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
