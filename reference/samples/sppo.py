"""SPPO: Wu et al. 2024, arXiv 2405.00675, the squared loss per response; K = 2 is the pair loss of the authors' code.

e_k = log π(y_k) - log π_t(y_k) - η (P_k - 1/2),  L = 1/2 Σ_k e_k²
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet


@quiet
def sppo(*, logps: Array, anchor_logps: Array, winrates: Array, eta: float = 1000.0) -> Result:
    """Losses (B,) from summed log-probs and win rates (B, K), and the gradient of their sum."""
    error = (logps - anchor_logps) - eta * (winrates - 0.5)
    # dL/dlog π(y_k) = e_k, and the opposite for the anchor
    return 0.5 * np.sum(error**2, axis=1), {"logps": error, "anchor_logps": -error}
