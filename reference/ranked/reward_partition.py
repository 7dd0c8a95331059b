"""Reward Partitioning Optimization (RPO): arXiv 2506.13702, regression of mean log-ratios onto rewards less their value.

ℓ_k = log π_ref(y_k) / |y_k| + r_k / τ,  V = τ log Σ_j e^{ℓ_j} over the valid completions, constant in the gradient
e_k = (log π(y_k) - log π_ref(y_k)) / |y_k| - (r_k - V) / τ = log π(y_k) / |y_k| + log Σ_j e^{ℓ_j - ℓ_k}
L = ½ Σ_k e_k²
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, logsumexp, quiet, softplus, tokens


@quiet
def reward_partition(
    *,
    logps: Array,
    ref_logps: Array,
    scores: Array,
    lengths: Array,
    mask: Mask | None = None,
    tau: float = 0.7,
) -> Result:
    """Losses (B,) from summed log-probs, rewards and lengths (B, K), and the gradient of their sum with V constant."""
    n = tokens(lengths, normalized=True)
    level = ref_logps / n + scores / tau
    losses, slopes = np.zeros(len(logps)), np.zeros(logps.shape)
    for b in range(len(logps)):
        valid = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        for i, k in enumerate(valid):
            rest = np.delete(valid, i)
            # log Σ_j e^{ℓ_j - ℓ_k} = log(1 + Σ_{j≠k} e^{ℓ_j - ℓ_k}): 0 where k is alone, whatever its reward, if known
            rarity = softplus(np.asarray(logsumexp(level[b, rest]) - level[b, k])) if len(rest) else 0.0 * scores[b, k]
            error = logps[b, k] / n[b, k] + rarity
            losses[b] += 0.5 * error**2
            # dL/dlog π(y_k) = e_k / |y_k| = -dL/dlog π_ref(y_k)
            slopes[b, k] = error / n[b, k]
    return losses, {"logps": slopes, "ref_logps": -slopes}
