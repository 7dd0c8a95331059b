"""PRO: Song et al. 2023, arXiv 2306.17492, eq. 5 (objective), 6 (mean log-prob scores), 7-9 (temperatures).

candidates best first, R_1 >= ... >= R_K;  s_k = log π(y_k) / |y_k|,  gap_ki = R_k - R_i,  gap_kk = max_{i>k} gap_ki
L = -Σ_{k<K} log [ e^{s_k gap_kk} / (e^{s_k gap_kk} + Σ_{i>k} e^{s_i gap_ki}) ] - w_sft (K - 1)² log π(y_1)
Without temperatures every gap is 1. A masked candidate is absent: K, the sums and the maxima are those of the others.
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, logsumexp, quiet, softmax, softplus, times, tokens


@quiet
def pro(
    *,
    logps: Array,
    lengths: Array,
    scores: Array | None = None,
    mask: Mask | None = None,
    sft_weight: float = 0.05,
    temperature: str = "reward_gap",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B, K), and the gradient of their sum."""
    n = tokens(lengths, normalized=True)
    s, losses, slopes = logps / n, np.zeros(len(logps)), np.zeros(logps.shape)
    for b in range(len(logps)):
        order = np.arange(logps.shape[1]) if mask is None else np.flatnonzero(mask[b])
        for k in range(len(order) - 1):
            head, tail = order[k], order[k + 1 :]
            gaps = np.ones(len(tail))
            if temperature == "reward_gap" and scores is not None:
                gaps = scores[b, head] - scores[b, tail]
            widest = gaps.max()
            pivot, exponents = times(widest, s[b, head]), times(gaps, s[b, tail])
            losses[b] += softplus(np.asarray(logsumexp(exponents - pivot)))
            p = softmax(np.append(pivot, exponents))
            # dL/ds_k = gap_kk (p_k - 1) = -gap_kk Σ_{i>k} p_i,  dL/ds_i = gap_ki p_i,  ds/dlogps = 1/n
            slopes[b, head] -= widest * p[1:].sum() / n[b, head]
            slopes[b, tail] += gaps * p[1:] / n[b, tail]
        if len(order):
            sft = sft_weight * (len(order) - 1) ** 2
            losses[b] -= times(sft, logps[b, order[0]])
            # d(-sft log π(y_1))/dlogps_1 = -sft
            slopes[b, order[0]] -= sft
    return losses, {"logps": slopes}
