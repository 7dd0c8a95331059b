"""DiscoPOP (log-ratio modulated loss): Lu et al. 2024, arXiv 2406.08414.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  z = β h,  m = σ(z / τ), differentiated too
L = -(1 - m) log σ(z) + m e^-z
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def discopop(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.05,
    tau: float = 0.05,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    m, rest = sigmoid(z / tau), sigmoid(-z / tau)
    # m e^-z = e^-z / (1 + e^(-z/τ)) = e^(z (1/τ - 1)) / (1 + e^(z/τ)): the exponents of z >= 0 and of z < 0
    decay = np.where(z >= 0.0, -z, times((1.0 - tau) / tau, z))
    weighted = np.exp(decay) / (1.0 + np.exp(-np.abs(z / tau)))
    losses = times(rest, softplus(-z)) + weighted
    # dL/dz = -(1 - m) σ(-z) - m e^-z + (m (1 - m) / τ) (e^-z - softplus(-z))
    turn = rest / tau * weighted - times(m * rest / tau, softplus(-z))
    slope = beta * (turn - rest * sigmoid(-z) - weighted)
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
