"""PFL, a discovered loss, a sibling of DiscoPOP: Lu et al. 2024, arXiv 2406.08414.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
L = -log σ(h) / 2 where h > 0, else 2 max(0, 1 - h)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope, sigmoid, softplus


@quiet
def pfl(*, chosen: Array, rejected: Array, ref_chosen: Array, ref_rejected: Array) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    losses = np.where(h > 0.0, 0.5 * softplus(-h), 2.0 * np.maximum(0.0, 1.0 - h))
    # dL/dh = -σ(-h) / 2 where h > 0, else -2, the step not differentiated
    slope = np.where(h > 0.0, -0.5 * sigmoid(-h), -2.0 * relu_slope(1.0 - h))
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
