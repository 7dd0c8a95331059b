"""RankList: Naini, Diaz & Busso 2025, arXiv 2508.09826, after its abstract alone, which gives no formula.

valid completions, best first, s_i = β (log π(y_i) - log π_ref(y_i))
sum: L = Σ_{k=1..skips} decay^(k-1) Σ_i softplus(-(s_i - s_{i+k}))
lse: L = Σ_i log(1 + Σ_{k=1..skips} e^{-(s_i - s_{i+k})}), decay 1
A completion i + k beyond the end of the list is left out.
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, logsumexp, quiet, sigmoid, softmax, softplus, times


@quiet
def ranklist(
    *,
    logps: Array,
    ref_logps: Array,
    mask: Mask | None = None,
    beta: float = 0.1,
    skips: float = 1.0,
    decay: float = 1.0,
    aggregate: str = "sum",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B, K), and the gradient of their sum."""
    s, losses, slopes = beta * (logps - ref_logps), np.zeros(len(logps)), np.zeros(logps.shape)
    for b in range(len(logps)):
        order = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        for place, i in enumerate(order[:-1]):
            below = order[place + 1 : place + 1 + int(skips)]
            if aggregate == "lse":
                lag = np.asarray(logsumexp(s[b, below]) - s[b, i])
                losses[b] += softplus(lag)
                # dL_i/ds_i = -σ(lag),  dL_i/ds_j = σ(lag) softmax of those below_j,  ds/dlogps = β
                push = beta * sigmoid(lag) * softmax(s[b, below]) if lag != -np.inf else np.zeros(len(below))
            else:
                weight, d = np.power(decay, np.arange(len(below)), dtype=np.float64), s[b, i] - s[b, below]
                losses[b] += np.sum(times(weight, softplus(-d)))
                # d softplus(-d)/dd = -σ(-d),  dd/ds_i = 1 = -dd/ds_j,  ds/dlogps = β
                push = beta * weight * sigmoid(-d)
            slopes[b, i] -= np.sum(push)
            slopes[b, below] += push
    return losses, {"logps": slopes, "ref_logps": -slopes}
