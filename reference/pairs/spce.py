"""SPCE (soft-preference cross-entropy): Zhai et al. 2024, arXiv 2405.14103; y is the probability that y_w is better.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  z = β h
L = -y log σ(z) - (1 - y) log σ(-z)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def spce(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    label: Array | None = None,
    beta: float = 0.1,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    y = np.ones(len(chosen)) if label is None else label
    losses = times(y, softplus(-z)) + times(1.0 - y, softplus(z))
    # dL/dh = β (σ(z) - y) = β [(1 - y) σ(z) - y σ(-z)]
    slope = beta * ((1.0 - y) * sigmoid(z) - y * sigmoid(-z))
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
