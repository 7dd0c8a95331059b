"""PFL, a discovered loss, a sibling of DiscoPOP: Lu et al. 2024, arXiv 2406.08414.

z = β ((log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)))
L = -log σ(z) / 2 where log π(y_w) > log π(y_l), else 2 max(0, 1 - z)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope, sigmoid, softplus


@quiet
def pfl(*, chosen: Array, rejected: Array, ref_chosen: Array, ref_rejected: Array, beta: float = 0.05) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    right = chosen > rejected
    losses = np.where(right, 0.5 * softplus(-z), 2.0 * np.maximum(0.0, 1.0 - z))
    # dL/dz = -σ(-z) / 2 on the right side, else -2 [z < 1], the step not differentiated; dz/dlog π(y_w) = β
    slope = beta * np.where(right, -0.5 * sigmoid(-z), -2.0 * relu_slope(1.0 - z))
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
