"""TPO: Saeidi et al. 2024, arXiv 2405.16681, three completions of a prompt: gold, chosen and rejected, in this order.

u = β (log π(y_w) - log π(y_l)), or with lengths (TPO-L) β (log π(y_w) / |y_w| - log π(y_l) / |y_l|) - γ
L = -log σ(u) - w log π(y_gold) / N,  N = |y_gold|, the mean of |y_gold| over the batch ("batch_tokens"), or 1
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times, tokens


@quiet
def tpo(
    *,
    logps: Array,
    lengths: Array,
    beta: float = 0.01,
    nll_weight: float = 1.0,
    nll: str = "mean",
    length_normalized: bool = False,
    gamma: float = 0.5,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B, 3) and lengths (B, 3), and the gradient of their sum."""
    n = tokens(lengths, normalized=True).T
    n_w, n_l = n[1:] if length_normalized else np.ones((2, len(logps)))
    u = beta * (logps[:, 1] / n_w - logps[:, 2] / n_l) - (gamma if length_normalized else 0.0)
    count = {"mean": n[0], "batch_tokens": max(float(np.sum(lengths[:, 0])), 1.0) / len(logps), "sum": 1.0}[nll]
    losses = softplus(-u) - times(nll_weight, logps[:, 0] / count)
    # dL/dgold = -w/N; dL/du = -σ(-u); du/dlog π(y_w) = β/n_w, du/dlog π(y_l) = -β/n_l
    slope = -beta * sigmoid(-u)
    return losses, {"logps": np.stack([-nll_weight / count * np.ones(len(logps)), slope / n_w, -slope / n_l], axis=1)}
