"""InfoNCA: Chen et al. 2024, arXiv 2402.05369, cross-entropy of the policy's softmax to that of the rewards.

s_i = β (log π_i - log π_ref,i),  q = softmax(r / α)  over the valid completions;  L = -Σ_i q_i log softmax(s)_i
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, logsumexp, quiet, softmax, times


@quiet
def info_nca(
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
        top = s.max()
        log_p = (s - top) - logsumexp(s - top)
        losses[b] = -np.sum(times(q, log_p))
        # dL/ds_i = Σ_j q_j p_i - q_i = p_i - q_i
        slopes[b, valid] = beta * (np.exp(log_p) - q)
    return losses, {"logps": slopes, "ref_logps": -slopes}
