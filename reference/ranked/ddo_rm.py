"""DDO-RM: Zhang et al. 2026, arXiv 2604.11119, as in the authors' code.

p = softmax(log π / τ),  q = softmax(log π_0 / τ + r / λ)  over the valid candidates, q held;  L = -Σ_i q_i log p_i
"""

from typing import Any

import numpy as np

from poz.reference._stable import Array, Mask, Result, logsumexp, quiet, softmax, times


@quiet
def ddo_rm(
    *,
    logps: Array,
    scores: Array,
    ref_logps: Any = None,
    mask: Mask | None = None,
    temperature: float = 1.0,
    tau: float = 1.0,
    improves: str = "policy",
) -> Result:
    """Losses (B,) from summed log-probs and rewards (B, K), and the gradient of their sum; an empty list costs 0."""
    losses, slopes = np.zeros(len(logps)), {"logps": np.zeros(logps.shape)}
    if improves == "reference":
        slopes["ref_logps"] = np.zeros(logps.shape)
    for b in range(len(logps)):
        valid = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if len(valid) == 0:
            continue
        s, gain = logps[b, valid] / tau, scores[b, valid] / temperature
        start = s if improves == "policy" else ref_logps[b, valid] / tau
        log_p = (s - s.max()) - logsumexp(s - s.max())
        q = softmax((start - start.max()) + gain)
        if improves == "reference":
            gain = gain + (start - s)
        losses[b] = -np.sum(times(q, log_p))
        # dL/ds_i = p_i - q_i = Σ_j p_i q_j - p_j q_i, as Σ q = Σ p = 1, and q_i / p_i goes as e^gain; ds/dl = 1 / τ
        p = np.exp(log_p)
        less = gain[:, None] - gain[None, :]
        lower, higher = -np.outer(p, q) * np.expm1(np.minimum(less, 0)), np.outer(q, p) * np.expm1(-np.maximum(less, 0))
        slopes["logps"][b, valid] = np.where(less > 0, higher, lower).sum(1) / tau
    return losses, slopes
