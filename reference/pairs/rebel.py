"""REBEL: Gao et al. 2024, arXiv 2404.16767, in the scale of the authors' code; the reference is the sampling policy.

h = (log π(y_w) - log π(y_l)) - (log π_old(y_w) - log π_old(y_l))
L = (h - η (r_w - r_l))²
"""

from poz.reference._stable import Array, Result, quiet


@quiet
def rebel(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    margin: Array,
    eta: float = 1.0,
) -> Result:
    """Losses (B,) in nats² from summed log-probs (B,), and the gradient of their sum."""
    excess = (chosen - rejected) - (ref_chosen - ref_rejected) - eta * margin
    # dL/dh = 2 (h - η (r_w - r_l))
    slope = 2.0 * excess
    return excess * excess, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
