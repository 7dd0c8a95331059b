"""LiPO-λ: Liu et al. 2024, arXiv 2402.01878, LambdaRank's weights on DPO's pairs.

s_i = β (log π(y_i) - log π_ref(y_i)),  ψ the scores,  D(r) = log(1 + r) or log2(1 + r)
rank_i = 1 + #{valid j: s_j > s_i, or s_j = s_i and j < i}
λ_ij = |2^ψ_i - 2^ψ_j| |1/D(rank_i) - 1/D(rank_j)|, constant in the gradient
L = Σ_{ψ_i > ψ_j} λ_ij softplus(-(s_i - s_j))
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus, times


@quiet
def lipo_lambda(
    *,
    logps: Array,
    ref_logps: Array,
    scores: Array,
    mask: Mask | None = None,
    beta: float = 0.1,
    discount: str = "log1p",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B, K), and the gradient of their sum with λ constant."""
    s, losses, slopes = beta * (logps - ref_logps), np.zeros(len(logps)), np.zeros(logps.shape)
    log = np.log1p if discount == "log1p" else lambda rank: np.log2(1.0 + rank)
    for b in range(len(logps)):
        valid = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if np.isnan(scores[b, valid]).any():  # an order that is unknown
            losses[b], slopes[b, valid] = np.nan, np.nan
            continue
        gain = {i: 2.0 ** scores[b, i] for i in valid}
        worth = {
            i: 1.0 / log(1.0 + sum(s[b, j] > s[b, i] or (s[b, j] == s[b, i] and j < i) for j in valid)) for i in valid
        }
        for i in valid:
            for j in valid:
                if not scores[b, i] > scores[b, j]:
                    continue
                weight = abs(gain[i] - gain[j]) * abs(worth[i] - worth[j])
                d = np.asarray(s[b, i] - s[b, j])
                losses[b] += times(weight, softplus(-d))
                # d(λ softplus(-d))/dd = -λ σ(-d),  dd/ds_i = 1 = -dd/ds_j,  ds/dlogps = β
                slopes[b, i] -= weight * beta * sigmoid(-d)
                slopes[b, j] += weight * beta * sigmoid(-d)
    return losses, {"logps": slopes, "ref_logps": -slopes}
