"""TDPO: Zeng et al. 2024, arXiv 2404.11999, DPO with the sequential KL of the reference from the policy.

h = Σ_t over valid tokens of the log-ratios of y_w minus the same of y_l,  D = Σ_t KL(ref || π)_t of each side
tdpo1: u = β (h - (D_l - D_w));  tdpo2: u = β (h - α (D_l - D_w)) with D_w constant;  L = softplus(-u)
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus, times


@quiet
def tdpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_kl: Array,
    rejected_kl: Array,
    chosen_mask: Mask | None = None,
    rejected_mask: Mask | None = None,
    beta: float = 0.1,
    alpha: float = 0.5,
    version: str = "tdpo2",
) -> Result:
    """Losses (B,) in nats from per-token log-probs and KLs (B, T) and (B, U), and the gradient of their sum."""
    on_chosen = np.ones(chosen.shape, dtype=bool) if chosen_mask is None else chosen_mask
    on_rejected = np.ones(rejected.shape, dtype=bool) if rejected_mask is None else rejected_mask
    h = np.sum(chosen - ref_chosen, axis=1, where=on_chosen)
    h = h - np.sum(rejected - ref_rejected, axis=1, where=on_rejected)
    gap = np.sum(rejected_kl, axis=1, where=on_rejected) - np.sum(chosen_kl, axis=1, where=on_chosen)
    weight = 1.0 if version == "tdpo1" else alpha
    u = beta * (h - times(weight, gap))
    # dL/du = -σ(-u);  du/dlog π = ±β,  du/dKL_l,t = -β weight,  du/dKL_w,t = +β in tdpo1 and 0 in tdpo2
    slope = (-beta * sigmoid(-u))[:, None]
    up, down = np.where(on_chosen, slope, 0.0), np.where(on_rejected, -slope, 0.0)
    return softplus(-u), {
        "chosen": up,
        "rejected": down,
        "ref_chosen": -up,
        "ref_rejected": -down,
        "chosen_kl": up if version == "tdpo1" else np.zeros(chosen.shape),
        "rejected_kl": times(weight, down),
    }
