"""Plackett-Luce DPO, and K-order PO with fewer stages (2506.00441): the first stages of drawing a list best first.

valid completions in their order, s_i = β (log π(y_i) - log π_ref(y_i))
L = Σ_{k <= stages} [log Σ_{j>=k} e^{s_j} - s_k] = Σ_{k <= stages} softplus(log Σ_{j>k} e^{s_j} - s_k)
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, logsumexp, quiet, sigmoid, softmax, softplus


@quiet
def plackett_luce(
    *,
    logps: Array,
    ref_logps: Array,
    mask: Mask | None = None,
    beta: float = 0.1,
    stages: float | None = None,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B, K), and the gradient of their sum."""
    s, losses, slopes = beta * (logps - ref_logps), np.zeros(len(logps)), np.zeros(logps.shape)
    for b in range(len(logps)):
        order = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        last = len(order) - 1  # the last completion has no rival left
        for k in range(last if stages is None else min(int(stages), last)):
            head, tail = order[k], order[k + 1 :]
            lag = np.asarray(logsumexp(s[b, tail]) - s[b, head])
            losses[b] += softplus(lag)
            # dL_k/ds_k = softmax_k - 1 = -σ(lag),  dL_k/ds_j = σ(lag) softmax of the tail_j,  ds/dlogps = β
            slopes[b, head] -= beta * sigmoid(lag)
            if lag != -np.inf:
                slopes[b, tail] += beta * sigmoid(lag) * softmax(s[b, tail])
    return losses, {"logps": slopes, "ref_logps": -slopes}
