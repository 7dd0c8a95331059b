"""CPO: Xu et al. 2024, arXiv 2401.08417, DPO with a uniform reference plus the NLL of the chosen completion.

L = -log σ(β (log π(y_w) - log π(y_l))) - w log π(y_w)  (log π(y_w) / |y_w| where nll is "mean")
"""

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
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum; rejected_len is not read."""
    z = beta * (chosen - rejected)
    n = tokens(chosen_len, normalized=nll == "mean")
    losses = softplus(-z) - times(nll_weight, chosen / n)
    # dL/dchosen = -β σ(-z) - w/n, dL/drejected = β σ(-z)
    slope = -beta * sigmoid(-z)
    return losses, {"chosen": slope - nll_weight / n, "rejected": -slope}
