"""R-DPO (length-regularised): Park et al. 2024, arXiv 2403.19159; the reward r - α |y| moves α |y| into the logit.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
L = -log σ(β h + α (|y_w| - |y_l|))
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def r_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    beta: float = 0.1,
    alpha: float = 0.01,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    u = beta * ((chosen - rejected) - (ref_chosen - ref_rejected)) + alpha * (chosen_len - rejected_len)
    # dL/dh = -β σ(-u)
    slope = -beta * sigmoid(-u)
    return softplus(-u), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
