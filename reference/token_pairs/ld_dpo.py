"""LD-DPO: Liu et al. 2024, arXiv 2409.06411, DPO that counts the tokens beyond the shorter completion α times.

n = min of the numbers of valid tokens; the valid tokens of a side have weight 1 up to the n-th and α after it
L = softplus(-β [(ℓ_w - r_w) - (ℓ_l - r_l)]) with ℓ weighted sums, r weighted or plain sums of log π_ref
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus


@quiet
def ld_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_mask: Mask | None = None,
    rejected_mask: Mask | None = None,
    beta: float = 0.1,
    alpha: float = 0.5,
    reference: str = "weighted",
) -> Result:
    """Losses (B,) in nats from per-token log-probs (B, T) and (B, U), and the gradient of their sum."""
    policy, ref = (chosen, rejected), (ref_chosen, ref_rejected)
    masks = (chosen_mask, rejected_mask)
    valid = [np.ones(x.shape, dtype=bool) if m is None else m for x, m in zip(policy, masks, strict=True)]
    mine = [np.zeros(x.shape) for x in policy]
    theirs = [np.zeros(x.shape) for x in policy]
    u = np.zeros(len(chosen))
    for b in range(len(chosen)):
        places = [np.flatnonzero(on[b]) for on in valid]
        shared = min(len(place) for place in places)
        for side, sign in ((0, 1.0), (1, -1.0)):
            for count, t in enumerate(places[side], start=1):
                weight = 1.0 if count <= shared else alpha
                mine[side][b, t] = sign * weight
                theirs[side][b, t] = sign * (weight if reference == "weighted" else 1.0)
                if mine[side][b, t] == theirs[side][b, t]:
                    gain = mine[side][b, t] * (policy[side][b, t] - ref[side][b, t]) if weight else 0.0
                else:
                    kept = mine[side][b, t] * policy[side][b, t] if weight else 0.0
                    gain = kept - theirs[side][b, t] * ref[side][b, t]
                u[b] += beta * gain
    # dL/du = -σ(-u), du/dlog π_t = ±β w_t
    slope = (-beta * sigmoid(-u))[:, None]
    return softplus(-u), {
        "chosen": np.where(mine[0] != 0.0, slope * mine[0], 0.0),
        "rejected": np.where(mine[1] != 0.0, slope * mine[1], 0.0),
        "ref_chosen": np.where(theirs[0] != 0.0, -slope * theirs[0], 0.0),
        "ref_rejected": np.where(theirs[1] != 0.0, -slope * theirs[1], 0.0),
    }
