"""DPO-Shift: arXiv 2502.07599, the rejected log-ratio shrunk by λ.

a = log π(y_w) - log π_ref(y_w),  b = log π(y_l) - log π_ref(y_l)
L = -log σ(β (a - λ b))
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def dpo_shift(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    shift: float = 0.75,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    u = beta * ((chosen - ref_chosen) - times(shift, rejected - ref_rejected))
    # dL/da = -β σ(-u), dL/db = λ β σ(-u)
    up, down = -beta * sigmoid(-u), shift * beta * sigmoid(-u)
    return softplus(-u), {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
