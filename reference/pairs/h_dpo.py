"""H-DPO: arXiv 2411.07595, an entropy weight α on the policy's share of the KL.

u = α β (log π(y_w) - log π(y_l)) - β (log π_ref(y_w) - log π_ref(y_l))
L = -log σ(u)
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def h_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    alpha: float = 1.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    u = beta * (alpha * (chosen - rejected) - (ref_chosen - ref_rejected))
    # dL/du = -σ(-u); the policy enters with α β, the reference with -β
    slope = -beta * sigmoid(-u)
    return softplus(-u), {
        "chosen": alpha * slope,
        "rejected": -alpha * slope,
        "ref_chosen": -slope,
        "ref_rejected": slope,
    }
