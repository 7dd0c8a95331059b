"""SamPO: Lu et al. 2024, arXiv 2406.10957, DPO on a drawn subset of the tokens, the same for policy and reference.

L = softplus(-β [Σ w_t (log π - log π_ref)_t of y_w - the same of y_l]), w_t the weight (0 or 1) of a valid token
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus, times


@quiet
def sampo(
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
    w, v = np.where(on_chosen, chosen_weights, 0.0), np.where(on_rejected, rejected_weights, 0.0)
    u = np.sum(times(w, chosen - ref_chosen), axis=1, where=on_chosen)
    u = beta * (u - np.sum(times(v, rejected - ref_rejected), axis=1, where=on_rejected))
    # dL/du = -σ(-u), du/dlog π_t = ±β w_t
    slope = (-beta * sigmoid(-u))[:, None]
    up, down = np.where(w != 0.0, slope * w, 0.0), np.where(v != 0.0, -slope * v, 0.0)
    return softplus(-u), {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
