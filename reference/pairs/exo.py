"""EXO for pairs: Ji et al. 2024, arXiv 2402.00856, reverse KL to the smoothed label.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  z = β h
L = KL(σ(z) || 1 - ε) = σ(z) log[σ(z) / (1 - ε)] + σ(-z) log[σ(-z) / ε]
"""

import numpy as np

from poz.reference._stable import Array, Result, bernoulli_kl, quiet, sigmoid, times


@quiet
def exo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    label_smoothing: float = 1e-3,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    target = np.log1p(-label_smoothing) - np.log(label_smoothing)
    # dL/dh = β σ(z) σ(-z) (z - log[(1 - ε) / ε])
    slope = beta * times(sigmoid(z) * sigmoid(-z), z - target)
    return bernoulli_kl(z, target), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
