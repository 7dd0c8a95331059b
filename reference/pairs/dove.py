"""DOVE: Bansal et al. 2024, arXiv 2404.00530; the log-probs are joint, of instruction and completion together.

h = log π(I_w, y_w) - log π(I_l, y_l) - (log π_ref(I_w, y_w) - log π_ref(I_l, y_l))
L = -log σ(β h)
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def dove(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    # dL/dh = -β σ(-β h)
    slope = -beta * sigmoid(-z)
    return softplus(-z), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
