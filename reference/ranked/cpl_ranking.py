"""CPL from rankings: Hejna et al. 2023, arXiv 2310.13639, eq. 6 over every ordered pair of a ranked list of segments.

A_i = α log π(σ_i)  (α (log π - log π_ref) in the KL variant)
L = mean over pairs with R_i > R_j of softplus(λ A_j - A_i);  equal scores form no pair, a list without pairs has L = 0
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus


@quiet
def cpl_ranking(
    *,
    logps: Array,
    scores: Array,
    ref_logps: Array | None = None,
    mask: Mask | None = None,
    alpha: float = 0.1,
    bias: float = 0.5,
    regularizer: str = "none",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B, K) and scores (B, K), and the gradient of their sum."""
    penalised = logps - ref_logps if regularizer == "kl" and ref_logps is not None else logps
    advantages = alpha * penalised
    losses, slopes = np.zeros(len(logps)), np.zeros(logps.shape)
    for b, advantage in enumerate(advantages):
        valid = range(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if np.isnan(scores[b, valid]).any():  # an order that is unknown
            losses[b], slopes[b, valid] = np.nan, np.nan
            continue
        pairs = [(i, j) for i in valid for j in valid if scores[b, i] > scores[b, j]]
        for high, low in pairs:
            z = bias * advantage[low] - advantage[high]
            losses[b] += softplus(z) / len(pairs)
            # dL/dA_high = -σ(z), dL/dA_low = λ σ(z), dA/dlogps = α
            slopes[b, high] -= alpha * sigmoid(z) / len(pairs)
            slopes[b, low] += alpha * bias * sigmoid(z) / len(pairs)
    grads = {"logps": slopes}
    if ref_logps is not None:
        grads["ref_logps"] = -slopes if regularizer == "kl" else np.zeros(slopes.shape)
    return losses, grads
