"""GPO: Zhang et al. 2024, arXiv 2410.02197, the squared loss over K samples with log Z = 0.

e_k = log π(y_k) - log π_t(y_k) - ŝ_k / β,  L = 1/K Σ_k e_k²
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet


@quiet
def gpo(*, logps: Array, anchor_logps: Array, winrates: Array, beta: float = 0.001) -> Result:
    """Losses (B,) from summed log-probs and mean scores (B, K), and the gradient of their sum."""
    error = (logps - anchor_logps) - winrates / beta
    # dL/dlog π(y_k) = 2 e_k / K, and the opposite for the anchor
    slope = 2.0 * error / logps.shape[1]
    return np.mean(error**2, axis=1), {"logps": slope, "anchor_logps": -slope}
