"""SAPO: arXiv 2511.20347, eq. 5 and 6.

x = -(4/τ) σ(τ(r - 1)) A, r = e^d, τ = τ+ where A > 0, else τ-
"""

import numpy as np

from poz.reference._stable import Array, sigmoid
from poz.reference.rollouts._completions import One, member


@member(aggregation="sequence_mean")
def sapo(one: One, *, tau_positive: float = 1.0, tau_negative: float = 1.05) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    tau = np.where(one.a > 0, tau_positive, tau_negative)
    z = tau * np.expm1(one.d)
    # dx/dl = -4 A σ(z) σ(-z) r, and σ(-z) r <= e^(d - z): 0 where r is infinite
    gate = np.where(z > 800, 0.0, sigmoid(z) * sigmoid(-z) * np.exp(np.minimum(one.d, 700.0)))
    return -4 / tau * sigmoid(z) * one.a, np.diag(-4 * one.a * gate)
