"""AltPO: arXiv 2409.13474; chosen is an alternate answer, rejected the one to be forgotten.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
L = -(2/β) log σ(β h)
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def alt_po(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    # dL/dh = -2 σ(-β h)
    slope = -2.0 * sigmoid(-z)
    return 2.0 / beta * softplus(-z), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
