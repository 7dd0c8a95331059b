"""NCA: Chen et al. 2024, arXiv 2402.05369, noise-contrastive alignment with K rewarded completions.

s_i = β (log π_i - log π_ref,i),  q = softmax(r / α)  over the K valid completions
L = -Σ_i [q_i log σ(s_i) + (1/K) log σ(-s_i)]
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softmax, softplus, times


@quiet
def nca(
    *,
    logps: Array,
    ref_logps: Array,
    scores: Array,
    mask: Mask | None = None,
    beta: float = 0.01,
    alpha: float = 0.01,
) -> Result:
    """Losses (B,) from summed log-probs and rewards (B, K), and the gradient of their sum; an empty list costs 0."""
    losses, slopes = np.zeros(len(logps)), np.zeros(logps.shape)
    for b in range(len(logps)):
        valid = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if len(valid) == 0:
            continue
        s = beta * (logps[b, valid] - ref_logps[b, valid])
        q = softmax(scores[b, valid] / alpha)
        losses[b] = np.sum(times(q, softplus(-s)) + softplus(s) / len(s))
        # dL/ds_i = σ(s_i) / K - q_i σ(-s_i)
        slopes[b, valid] = beta * (sigmoid(s) / len(s) - q * sigmoid(-s))
    return losses, {"logps": slopes, "ref_logps": -slopes}
