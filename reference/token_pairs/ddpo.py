"""DDPO: Yu et al. 2023, arXiv 2312.00849 (RLHF-V), DPO whose corrected tokens count γ times.

w_t = γ at changed tokens, 1 at the others (valid ones only);  N = Σ w_t (1 where that is 0), or 1 if not normalized
A = Σ w_t (log π_t - log π_ref,t) / N of each side,  L = softplus(-β (A_w - A_l))
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus


@quiet
def ddpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_changed: Mask,
    rejected_changed: Mask,
    chosen_mask: Mask | None = None,
    rejected_mask: Mask | None = None,
    beta: float = 0.5,
    gamma: float = 5.0,
    normalize: bool = True,
) -> Result:
    """Losses (B,) in nats from per-token log-probs (B, T) and (B, U), and the gradient of their sum."""
    shares, sums = [], []
    for policy, ref, changed, mask in (
        (chosen, ref_chosen, chosen_changed, chosen_mask),
        (rejected, ref_rejected, rejected_changed, rejected_mask),
    ):
        valid = np.ones(policy.shape, dtype=bool) if mask is None else mask
        share = np.where(valid, np.where(changed, gamma, 1.0), 0.0)
        if normalize:
            total = share.sum(axis=1, keepdims=True)
            share = share / np.where(total == 0.0, 1.0, total)
        shares.append(share)
        sums.append(np.sum(share * (policy - ref), axis=1, where=share > 0.0))
    u = beta * (sums[0] - sums[1])
    # dL/du = -σ(-u), du/dlog π_t = ±β w_t / N
    slope = (-beta * sigmoid(-u))[:, None]
    up, down = (np.where(share > 0.0, sign * slope * share, 0.0) for sign, share in ((1, shares[0]), (-1, shares[1])))
    return softplus(-u), {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
