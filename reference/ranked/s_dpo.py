"""S-DPO: Chen et al. 2024, arXiv 2406.09215, one preferred completion against all the others.

s_i = β (log π(y_i) - log π_ref(y_i)) of the valid completions, the preferred one first
L = log Σ_i e^{s_i} - s_1 = softplus(log Σ_{i>1} e^{s_i} - s_1)
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, logsumexp, quiet, sigmoid, softmax, softplus


@quiet
def s_dpo(*, logps: Array, ref_logps: Array, mask: Mask | None = None, beta: float = 0.1) -> Result:
    """Losses (B,) in nats from summed log-probs (B, K), and the gradient of their sum."""
    s, losses, slopes = beta * (logps - ref_logps), np.zeros(len(logps)), np.zeros(logps.shape)
    for b in range(len(logps)):
        valid = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if len(valid) < 2:
            continue
        first, rest = valid[0], valid[1:]
        lag = np.asarray(logsumexp(s[b, rest]) - s[b, first])
        losses[b] = softplus(lag)
        # dL/ds_1 = -σ(lag),  dL/ds_i = σ(lag) softmax of the rest_i,  ds/dlogps = β
        slopes[b, first] = -beta * sigmoid(lag)
        if lag != -np.inf:
            slopes[b, rest] = beta * sigmoid(lag) * softmax(s[b, rest])
    return losses, {"logps": slopes, "ref_logps": -slopes}
