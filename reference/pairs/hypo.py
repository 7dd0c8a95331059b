"""HyPO (hybrid): arXiv 2602.11902; a reference that prefers the wrong completion is ignored.

Δ = log π(y_w) - log π(y_l),  Δ_ref = log π_ref(y_w) - log π_ref(y_l)
L = -log σ(β (Δ - max(0, Δ_ref)))
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope, sigmoid, softplus


@quiet
def hypo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    known = ref_chosen - ref_rejected
    u = beta * ((chosen - rejected) - np.maximum(0.0, known))
    # dL/dΔ = -β σ(-u), dL/dΔ_ref = β σ(-u) [Δ_ref > 0]
    slope = -beta * sigmoid(-u)
    held = slope * relu_slope(known)
    return softplus(-u), {"chosen": slope, "rejected": -slope, "ref_chosen": -held, "ref_rejected": held}
