"""SLiC-HF: Zhao et al. 2023, arXiv 2305.10425, rank calibration; the regularization target is the chosen completion.

L = max(0, δ - log π(y_w) + log π(y_l)) - λ log π(y_w)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope, times


@quiet
def slic_hf(
    *,
    chosen: Array,
    rejected: Array,
    delta: float = 1.0,
    regularization_weight: float = 0.1,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    short = delta - (chosen - rejected)
    losses = np.maximum(0.0, short) - times(regularization_weight, chosen)
    # dL/dchosen = -[short > 0] - λ, dL/drejected = [short > 0], and 0 at the kink
    push = relu_slope(short)
    return losses, {"chosen": -push - regularization_weight, "rejected": push}
