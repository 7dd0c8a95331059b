"""PADLL (performance-adaptive decay logistic): Lu et al. 2024 (DiscoPOP), arXiv 2406.08414.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
L = -0.9 (1 - 0.5 [h < 0]) log σ(β h)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def padll(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.05,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    decay = np.where(h < 0.0, 0.45, 0.9)
    losses = decay * softplus(-beta * h)
    # dL/dh = -β decay σ(-β h), the step not differentiated
    slope = -beta * decay * sigmoid(-beta * h)
    return losses, {
        "chosen": slope,
        "rejected": -slope,
        "ref_chosen": -slope,
        "ref_rejected": slope,
    }
