"""RPO (regularised): Liu et al. 2024, arXiv 2405.16436, DPO plus a summed SFT term scaled by β.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
L = -log σ(β h) - η β log π(y_w)
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def rpo_regularized(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    eta: float = 0.005,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    losses = softplus(-z) - times(eta * beta, chosen)
    # dL/dh = -β σ(-β h), and -η β more for the chosen completion
    slope = -beta * sigmoid(-z)
    return losses, {"chosen": slope - eta * beta, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
