"""Every pair of a list: the pairwise logistic and hinge losses of LiPO, arXiv 2402.01878.

s_i = β (log π(y_i) - log π_ref(y_i)),  d_ij = s_i - s_j for valid i, j with scores_i > scores_j
L = mean over these pairs of softplus(-d), or of max(0, 1 - d); 0 without such a pair
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, relu_slope, sigmoid, softplus


@quiet
def all_pairs(
    *,
    logps: Array,
    ref_logps: Array,
    scores: Array,
    mask: Mask | None = None,
    beta: float = 0.1,
    link: str = "logistic",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B, K), and the gradient of their sum."""
    s, losses, slopes = beta * (logps - ref_logps), np.zeros(len(logps)), np.zeros(logps.shape)
    for b in range(len(logps)):
        valid = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if np.isnan(scores[b, valid]).any():  # an order that is unknown
            losses[b], slopes[b, valid] = np.nan, np.nan
            continue
        pairs = [(i, j) for i in valid for j in valid if scores[b, i] > scores[b, j]]
        for i, j in pairs:
            d = np.asarray(s[b, i] - s[b, j])
            losses[b] += (softplus(-d) if link == "logistic" else np.maximum(0.0, 1.0 - d)) / len(pairs)
            # -dL/dd = σ(-d), or 1 below d = 1 and 0 from there on;  dd/ds_i = 1 = -dd/ds_j,  ds/dlogps = β
            push = beta * (sigmoid(-d) if link == "logistic" else relu_slope(1.0 - d)) / len(pairs)
            slopes[b, i] -= push
            slopes[b, j] += push
    return losses, {"logps": slopes, "ref_logps": -slopes}
