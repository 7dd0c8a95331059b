"""WPO: Zhou et al. 2024, arXiv 2406.11827, DPO weighted by how likely the pair is under the policy.

h = Σ_t over valid steps of the log-ratios of y_w minus the same of y_l,  z = β h
M = mean over valid steps of log π_t - c_t,  c_t = log Σ_v π(v | context)² (or 0)
W = e^(M_w + M_l), at most 1 if clamped, constant in the gradient;  L = W ((1 - ε) softplus(-z) + ε softplus(z))
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus, times


@quiet
def wpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_mask: Mask | None = None,
    rejected_mask: Mask | None = None,
    chosen_collision: Array | None = None,
    rejected_collision: Array | None = None,
    beta: float = 0.01,
    label_smoothing: float = 0.0,
    collision: bool = True,
    clamp: bool = True,
) -> Result:
    """Losses (B,) in nats from per-token log-probs (B, T) and (B, U), and the gradient of their sum with W constant."""
    on_chosen = np.ones(chosen.shape, dtype=bool) if chosen_mask is None else chosen_mask
    on_rejected = np.ones(rejected.shape, dtype=bool) if rejected_mask is None else rejected_mask
    a = np.sum(chosen - ref_chosen, axis=1, where=on_chosen)
    b = np.sum(rejected - ref_rejected, axis=1, where=on_rejected)
    z, total = beta * (a - b), np.zeros(len(chosen))
    for policy, other, valid in ((chosen, chosen_collision, on_chosen), (rejected, rejected_collision, on_rejected)):
        gain = policy - other if collision and other is not None else policy
        total += np.sum(gain, axis=1, where=valid) / np.maximum(valid.sum(axis=1), 1)
    weight = np.exp(np.minimum(total, 0.0) if clamp else total)
    losses = times(weight, (1.0 - label_smoothing) * softplus(-z) + times(label_smoothing, softplus(z)))
    # dL/dh = W β (σ(z) - (1 - ε)) = W β (ε - σ(-z)), and dh is ±1 at every valid step
    slope = (weight * beta * (label_smoothing - sigmoid(-z)))[:, None]
    up, down = np.where(on_chosen, slope, 0.0), np.where(on_rejected, -slope, 0.0)
    return losses, {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
