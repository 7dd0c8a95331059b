"""ConfPO: arXiv 2506.08712, SimPO on the tokens that the policy is least sure of.

C = the valid tokens of a side whose π_t is less than the mean of π over its valid tokens, constant in the gradient
m = mean over C of log π_t,  u = β (m_w - m_l) - γ,  γ = β gamma_beta_ratio
L = -log σ(u), and 0 where C is empty on a side
"""

import math

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus


def unsure(row: Array) -> Mask:
    """C of a side's valid tokens, none of them NaN: Σ_s π_s > n π_t as Σ_s (π_s / π_t - 1) > 0, 0 for equal tokens."""
    impossible: Mask = np.isneginf(row)
    if np.isposinf(row).any():  # the mean is +inf
        return row < np.inf
    possible = row[~impossible]
    mean = [math.fsum(np.expm1(np.minimum(possible - x, 700.0))) - impossible.sum() for x in possible]
    below = impossible & (len(possible) > 0)
    below[~impossible] = np.array(mean, dtype=float) > 0.0
    return below


@quiet
def confpo(
    *,
    chosen: Array,
    rejected: Array,
    chosen_mask: Mask | None = None,
    rejected_mask: Mask | None = None,
    beta: float = 2.0,
    gamma_beta_ratio: float = 0.25,
) -> Result:
    """Losses (B,) in nats from per-token log-probs (B, T) and (B, U), and the gradient of their sum with C constant."""
    on_chosen = np.ones(chosen.shape, dtype=bool) if chosen_mask is None else chosen_mask
    on_rejected = np.ones(rejected.shape, dtype=bool) if rejected_mask is None else rejected_mask
    losses, up, down = np.zeros(len(chosen)), np.zeros(chosen.shape), np.zeros(rejected.shape)
    for b in range(len(chosen)):
        w, r = np.flatnonzero(on_chosen[b]), np.flatnonzero(on_rejected[b])
        if np.isnan(chosen[b, w]).any() or np.isnan(rejected[b, r]).any():
            losses[b], up[b, w], down[b, r] = np.nan, np.nan, np.nan
            continue
        w, r = w[unsure(chosen[b, w])], r[unsure(rejected[b, r])]
        if len(w) == 0 or len(r) == 0:
            continue
        u = beta * (np.mean(chosen[b, w]) - np.mean(rejected[b, r])) - beta * gamma_beta_ratio
        losses[b] = softplus(-u)
        # dL/dm_w = -β σ(-u) = -dL/dm_l, dm/dlog π_t = 1/|C| on C
        slope = -beta * sigmoid(-u)
        up[b, w], down[b, r] = slope / len(w), -slope / len(r)
    return losses, {"chosen": up, "rejected": down}
