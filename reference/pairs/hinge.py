"""Hinge on the log-ratio margin (SLiC-norm): Liu et al. 2023 (RSO), arXiv 2309.06657.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  z = β h
L = max(0, 1 - z)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope


@quiet
def hinge(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    losses = np.maximum(0.0, 1.0 - beta * h)
    # dL/dh = -β [z < 1], and 0 at the kink
    slope = -beta * relu_slope(1.0 - beta * h)
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
