"""ListNet (Cao et al. 2007) on log-ratios: top-one cross-entropy; LiPO, arXiv 2402.01878, eq. 11, has q = r / Σ r.

s_i = β (log π(y_i) - log π_ref(y_i)),  q = softmax(scores / τ),  p = softmax(s), both over the valid completions
L = -Σ_i q_i log p_i
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, logsumexp, quiet, softmax, softplus, times


@quiet
def listnet(
    *,
    logps: Array,
    ref_logps: Array,
    scores: Array,
    mask: Mask | None = None,
    beta: float = 0.1,
    tau: float = 1.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B, K), and the gradient of their sum."""
    s, losses, slopes = beta * (logps - ref_logps), np.zeros(len(logps)), np.zeros(logps.shape)
    for b in range(len(logps)):
        valid = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if len(valid) < 2:
            continue  # the only completion is the first one for certain
        q = softmax(scores[b, valid] / tau)
        for i, place in enumerate(valid):
            rest = np.delete(valid, i)
            # -log p_i = log(1 + Σ_{j≠i} e^{s_j - s_i})
            losses[b] += times(q[i], softplus(np.asarray(logsumexp(s[b, rest]) - s[b, place])))
        # dL/ds_i = p_i - q_i, because Σ q = 1;  ds/dlogps = β
        slopes[b, valid] = beta * (softmax(s[b, valid]) - q)
    return losses, {"logps": slopes, "ref_logps": -slopes}
