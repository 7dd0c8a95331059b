"""Step-DPO: Lai et al. 2024, arXiv 2406.18629, DPO of one reasoning step: the first wrong one against its correction.

L = softplus(-β [Σ_t in the step of (log π - log π_ref)_t of y_w - the same of y_l])
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus


@quiet
def step_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_mask: Mask,
    rejected_mask: Mask,
    beta: float = 0.5,
) -> Result:
    """Losses (B,) in nats from per-token log-probs (B, T) and (B, U), and the gradient of their sum."""
    a = np.sum(chosen - ref_chosen, axis=1, where=chosen_mask)
    b = np.sum(rejected - ref_rejected, axis=1, where=rejected_mask)
    u = beta * (a - b)
    # dL/du = -σ(-u), du/dlog π_t = ±β inside the step
    slope = (-beta * sigmoid(-u))[:, None]
    up, down = np.where(chosen_mask, slope, 0.0), np.where(rejected_mask, -slope, 0.0)
    return softplus(-u), {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
