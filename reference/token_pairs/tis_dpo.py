"""TIS-DPO: Liu et al. 2024, arXiv 2410.04350, DPO on log-ratios weighted token by token.

a = Σ_t w_t (log π_t - log π_ref,t) over the valid steps of y_w, b the same of y_l
L = -log σ(β (a - b))
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus, times


@quiet
def tis_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_weights: Array,
    rejected_weights: Array,
    chosen_mask: Mask | None = None,
    rejected_mask: Mask | None = None,
    beta: float = 0.1,
) -> Result:
    """Losses (B,) in nats from per-token log-probs (B, T) and (B, U), and the gradient of their sum."""
    on_chosen = np.ones(chosen.shape, dtype=bool) if chosen_mask is None else chosen_mask
    on_rejected = np.ones(rejected.shape, dtype=bool) if rejected_mask is None else rejected_mask
    a = np.sum(times(chosen_weights, chosen - ref_chosen), axis=1, where=on_chosen)
    b = np.sum(times(rejected_weights, rejected - ref_rejected), axis=1, where=on_rejected)
    z = beta * (a - b)
    # dL/da = -β σ(-z) = -dL/db, da/dlog π_t = w_t
    slope = (-beta * sigmoid(-z))[:, None]
    up = np.where(on_chosen, slope * chosen_weights, 0.0)
    down = np.where(on_rejected, -slope * rejected_weights, 0.0)
    return softplus(-z), {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
