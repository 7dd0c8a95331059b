"""RSPO: Tang et al. 2025, arXiv 2503.00030; the regularizers are those of the authors' trainer.

e_k = log π(y_k) - log π_t(y_k) - η (P_k - 1/2),  d_k = log π(y_k) - log π_ref(y_k)
L = 1/2 Σ_k e_k² + w Σ_k R_k
R = d² (reverse KL), e^min(-d, c) (forward KL), e^min(-d, c) + κ d² (both), e^min(d, c) (chi²), or (log π)² (entropy)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, times


@quiet
def rspo(
    *,
    logps: Array,
    anchor_logps: Array,
    ref_logps: Array,
    winrates: Array,
    eta: float = 1000.0,
    regularization_weight: float = 0.1,
    regularizer: str = "reverse_kl",
    reverse_weight: float = 5.0,
    clamp: float = 10.0,
) -> Result:
    """Losses (B,) from summed log-probs and win rates (B, K), and the gradient of their sum."""
    error = (logps - anchor_logps) - eta * (winrates - 0.5)
    d = logps - ref_logps
    # dR/dd is 2 d, or ∓e^(∓d) where the exponent is below the clamp and 0 from there on; dR/dlog π is 2 log π for entropy
    if regularizer == "reverse_kl":
        penalty, slope = d**2, 2.0 * d
    elif regularizer == "entropy":
        penalty, slope = logps**2, 2.0 * logps
    else:
        sign = 1.0 if regularizer == "chi2" else -1.0
        penalty = np.exp(np.minimum(sign * d, clamp))
        slope = np.where(sign * d < clamp, sign * penalty, 0.0)
        if regularizer == "forward_reverse_kl":
            # d(κ d²)/dd = 2 κ d
            penalty, slope = penalty + times(reverse_weight, d**2), slope + times(reverse_weight, 2.0 * d)
    losses = np.sum(0.5 * error**2 + times(regularization_weight, penalty), axis=1)
    pull = times(regularization_weight, slope)
    against = np.zeros_like(pull) if regularizer == "entropy" else -pull
    return losses, {"logps": error + pull, "anchor_logps": -error, "ref_logps": against}
