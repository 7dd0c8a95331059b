"""EXO for K candidates: Ji et al. 2024, arXiv 2402.00856, reverse KL to the softmax of the rewards.

p = softmax(β (log π - log π_ref)),  q = softmax(R / β_R)  over the valid candidates of a list
L = KL(p || q) = Σ_i p_i (log p_i - log q_i);  a list with fewer than two candidates has L = 0
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, logsumexp, quiet, times


@quiet
def exo_k(
    *,
    logps: Array,
    ref_logps: Array,
    scores: Array,
    mask: Mask | None = None,
    beta: float = 0.5,
    reward_beta: float = 0.5,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B, K) and scores (B, K), and the gradient of their sum."""
    losses, slopes = np.zeros(len(logps)), np.zeros(logps.shape)
    for b in range(len(logps)):
        valid = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if len(valid) == 0:
            continue
        s = beta * (logps[b, valid] - ref_logps[b, valid])
        t = scores[b, valid] / reward_beta
        s, t = s - s.max(), t - t.max()
        log_p, log_q = s - logsumexp(s), t - logsumexp(t)
        p = np.exp(log_p)
        losses[b] = np.sum(times(p, log_p - log_q))
        # dL/dlogps_i = β p_i (log(p_i/q_i) - L) = β p_i Σ_j p_j [(s_i - s_j) - (t_i - t_j)]
        excess = (s[:, None] - s[None, :]) - (t[:, None] - t[None, :])
        np.fill_diagonal(excess, 0.0)  # also of an infinity
        slopes[b, valid] = beta * np.sum(times(p[:, None] * p[None, :], excess), axis=1)
    return losses, {"logps": slopes, "ref_logps": -slopes}
