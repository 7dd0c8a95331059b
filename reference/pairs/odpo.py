"""ODPO (DPO with an offset): Amini, Vieira, Cotterell 2024, arXiv 2402.10571.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  z = β h,  Δ = r*_w - r*_l
m = α log Δ (offset "log") or α Δ ("linear"),  L = -log σ(z - m)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def odpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    margin: Array,
    beta: float = 0.1,
    alpha: float = 1.0,
    offset: str = "log",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    u = z - alpha * (np.log(margin) if offset == "log" else margin)
    if offset == "log":  # m of a gap of 0 is -∞: L = 0, whatever z
        u = np.where((margin == 0.0) & ~np.isnan(z), np.inf, u)
    # dL/dh = -β σ(-(z - m))
    slope = -beta * sigmoid(-u)
    return softplus(-u), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
