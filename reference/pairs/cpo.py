"""CPO: Xu et al. 2024, arXiv 2401.08417, DPO with a uniform reference plus the NLL of the chosen completion.

z = β (log π(y_w) - log π(y_l)),  N = |y_w|, the mean of |y_w| over the batch ("batch_tokens"), or 1 ("sum")
L = -(1-ε) log σ(z) - ε log σ(-z) - w log π(y_w) / N
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times, tokens


@quiet
def cpo(
    *,
    chosen: Array,
    rejected: Array,
    chosen_len: Array | None = None,
    rejected_len: Array | None = None,
    beta: float = 0.1,
    nll_weight: float = 1.0,
    nll: str = "mean",
    label_smoothing: float = 0.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum; rejected_len is not read."""
    z, eps = beta * (chosen - rejected), label_smoothing
    n = tokens(chosen_len, normalized=nll == "mean")
    if nll == "batch_tokens" and chosen_len is not None:
        n = np.full(len(chosen), max(float(np.sum(chosen_len)), 1.0) / len(chosen))
    losses = times(1 - eps, softplus(-z)) + times(eps, softplus(z)) - times(nll_weight, chosen / n)
    # dL/dz = ε σ(z) - (1-ε) σ(-z), dz/dchosen = β, dz/drejected = -β; of the NLL -w/N in chosen
    slope = beta * (eps * sigmoid(z) - (1 - eps) * sigmoid(-z))
    return losses, {"chosen": slope - nll_weight / n, "rejected": -slope}
