"""Online IPO: Calandriello et al. 2024, arXiv 2403.08635; IPO-MD is the same loss on samples of the mixture.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  L = (h - (2 P - 1) / (2 τ))², P = P(y_w better)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet


@quiet
def online_ipo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    label: Array | None = None,
    tau: float = 0.1,
) -> Result:
    """Losses (B,) in nats² from summed log-probs (B,), and the gradient of their sum."""
    known = np.ones(chosen.shape) if label is None else label
    error = (chosen - rejected) - (ref_chosen - ref_rejected) - (2.0 * known - 1.0) / (2.0 * tau)
    # dL/dh = 2 (h - target)
    slope = 2.0 * error
    return error**2, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
