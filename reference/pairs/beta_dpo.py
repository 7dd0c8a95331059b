"""β-DPO: Wu et al. 2024, arXiv 2407.08639, DPO with a β that follows the margins of the batch.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  M0 = mean_gap
β_B = max(floor, β (1 + α (mean over the batch of h - M0))), constant in the gradient;  L = softplus(-β_B h)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def beta_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    alpha: float = 0.6,
    mean_gap: float = 0.0,
    floor: float = 0.001,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum with β_B constant."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    scale = np.maximum(floor, beta * (1.0 + times(alpha, np.asarray(np.mean(h) - mean_gap))))
    # dL/dh = -β_B σ(-β_B h)
    slope = -scale * sigmoid(-scale * h)
    return softplus(-scale * h), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
