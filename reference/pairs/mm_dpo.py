"""MM-DPO (reward-margin-scaled β): Zhang et al. 2025 (MM-RLHF), arXiv 2502.10391.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  δ = r*_w - r*_l
B = β (1 + w (1 - e^(-k max(δ, 0)))), a constant of the pair;  L = -log σ(B h)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def mm_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    margin: Array,
    beta: float = 0.1,
    w: float = 0.5,
    k: float = 0.5,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    scaled = beta * (1.0 - w * np.expm1(-k * np.maximum(margin, 0.0)))
    # dL/dh = -B σ(-B h)
    slope = -scaled * sigmoid(-scaled * h)
    return softplus(-scaled * h), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
