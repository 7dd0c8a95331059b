"""AMaPO: arXiv 2511.09385, SimPO with an extra margin for the pairs below the mean of their batch.

m = log π(y_w) / |y_w| - log π(y_l) / |y_l|;  μ, S = mean and unbiased standard deviation of m over the batch
A = β E((μ - m) μ / S) where m < μ, else 0, constant in the gradient; 0 everywhere if S = 0 or the batch is one pair
L = softplus(-(β m - A));  E is the exponential, along its tangent from 60 on
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, tangent_exp, tokens


@quiet
def amapo(
    *,
    chosen: Array,
    rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    beta: float = 2.5,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum with A constant."""
    n, k = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    m = chosen / n - rejected / k
    extra, mean = np.zeros(len(m)), np.mean(m)
    spread = np.std(m, ddof=1) if len(m) > 1 else 0.0
    if spread != 0.0:
        extra = np.where(m < mean, beta * tangent_exp((mean - m) * mean / spread), 0.0)
    z = beta * m - extra
    # dL/dm = -β σ(-z),  dm = dlog π(y_w) / |y_w| - dlog π(y_l) / |y_l|
    slope = -beta * sigmoid(-z)
    return softplus(-z), {"chosen": slope / n, "rejected": -slope / k}
