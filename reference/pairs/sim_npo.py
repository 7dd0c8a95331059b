"""SimNPO: Fan et al. 2024, arXiv 2410.07163; rejected is to be forgotten, chosen to be retained.

p = log π(y) / |y|
L = w_forget (2/β) softplus(β (p_l + γ)) - w_retain p_w
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times, tokens


@quiet
def sim_npo(
    *,
    chosen: Array,
    rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    beta: float = 2.5,
    gamma: float = 0.0,
    forget_weight: float = 1.0,
    retain_weight: float = 1.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and lengths (B,), and the gradient of their sum."""
    n_chosen, n_rejected = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    z = beta * (rejected / n_rejected + gamma)
    losses = times(forget_weight * 2.0 / beta, softplus(z)) - times(retain_weight, chosen / n_chosen)
    # dL/dp_l = 2 w_forget σ(β (p_l + γ)), dL/dp_w = -w_retain
    return losses, {"chosen": -retain_weight / n_chosen, "rejected": 2.0 * forget_weight * sigmoid(z) / n_rejected}
