"""RRHF: Yuan et al. 2023, arXiv 2304.05302, hinges over every ordered pair of a list plus the NLL of its best.

q_i = log π(y_i) / |y_i|^κ
L = w Σ_{R_i < R_j} max(0, q_i - q_j) - log π(y_1)  (log π(y_1) / |y_1| where nll is "mean"), y_1 the first candidate
Equal rewards form no pair; a list without candidates has L = 0.
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, relu_slope, times, tokens


@quiet
def rrhf(
    *,
    logps: Array,
    lengths: Array,
    scores: Array,
    mask: Mask | None = None,
    weight: float = 1.0,
    length_power: float = 1.0,
    nll: str = "mean",
) -> Result:
    """Losses (B,) in nats from summed log-probs, lengths and scores (B, K), and the gradient of their sum."""
    n = tokens(lengths, normalized=True)
    losses, slopes = np.zeros(len(logps)), np.zeros(logps.shape)
    for b in range(len(logps)):
        valid = range(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if np.isnan(scores[b, valid]).any():  # an order that is unknown
            losses[b], slopes[b, valid] = np.nan, np.nan
            continue
        for first in valid[:1]:
            count = n[b, first] if nll == "mean" else 1.0
            losses[b] -= logps[b, first] / count
            # d(-log π(y_1)/n)/dlogps_1 = -1/n
            slopes[b, first] -= 1.0 / count
        scale = n[b] ** length_power
        for worse, better in ((i, j) for i in valid for j in valid if scores[b, i] < scores[b, j]):
            over = logps[b, worse] / scale[worse] - logps[b, better] / scale[better]
            losses[b] += times(weight, np.maximum(0.0, over))
            # dL/dq_i = w [q_i > q_j] = -dL/dq_j, dq/dlogps = 1/n^κ
            slopes[b, worse] += weight * relu_slope(over) / scale[worse]
            slopes[b, better] -= weight * relu_slope(over) / scale[better]
    return losses, {"logps": slopes}
