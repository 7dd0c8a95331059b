"""ORPO: Hong, Lee, Thorne 2024, arXiv 2403.07691, odds ratio of mean log-probs plus the NLL of the chosen completion.

p = log π(y_w) / |y_w|,  q = min(log π(y_l) / |y_l|, CERTAIN),  odds(p) = e^p / (1 - e^p)
L = -nll - w log σ(log odds(p) - log odds(q)) = -nll + w log(1 + e^q (1 - e^p) / (e^p (1 - e^q)))
nll = p, or log π(y_w) B / Σ_j |y_w,j| ("batch_tokens"), whose batch mean is per token
"""

import numpy as np

from poz.reference._stable import Array, Result, log1mexp, quiet, softplus, times, tokens

CERTAIN = -1e-12  # nats: a rejected completion is taken as no more certain than this, so that its odds are finite


@quiet
def orpo(
    *,
    chosen: Array,
    rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    odds_weight: float = 0.1,
    nll: str = "mean",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and lengths (B,), and the gradient of their sum."""
    n_chosen, n_rejected = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    p, mean = chosen / n_chosen, rejected / n_rejected
    q = np.minimum(mean, CERTAIN)
    log_odds = (p - q) - (log1mexp(p) - log1mexp(q))
    count = n_chosen if nll == "mean" else max(float(np.sum(chosen_len)), 1.0) / len(chosen)
    losses = times(odds_weight, softplus(-log_odds)) - chosen / count
    # with D = e^p (1 - e^q) + e^q (1 - e^p):  dL/dp = -w e^q/D,  dL/dq = w e^q (1 - e^p) / (D (1 - e^q)), and -1/N by nll
    top = np.maximum(p, q)
    share = np.exp(q - top) / (np.exp(p - top) * -np.expm1(q) + np.exp(q - top) * -np.expm1(p))
    up = -odds_weight * share
    down = np.where(mean >= CERTAIN, 0.0, odds_weight * share * np.expm1(p) / np.expm1(q))
    return losses, {"chosen": up / n_chosen - 1.0 / count, "rejected": down / n_rejected}
