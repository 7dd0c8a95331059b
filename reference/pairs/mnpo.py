"""MNPO: Wu et al. 2025, arXiv 2509.23102, eq. 17, with the released code's share τ/η of the reference policy.

D(p) = log p(y_w) - log p(y_l),  a = β [D(π) - (τ/η) D(π_ref) - (1 - τ/η) Σ_j λ_j D(q_j)]
squared:      L = (a - b)²
backward KL:  L = σ(b) log(σ(b) / σ(a)) + σ(-b) log(σ(-b) / σ(-a)) = softplus(-a) - softplus(-b) + σ(-b) (a - b)
target b: constant 1 / (2 η), reward η (r*_w - r*_l), hard +∞;  τ = η/3 where it is not given
"""

from collections.abc import Sequence

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times, tokens


@quiet
def mnpo(
    *,
    chosen: Array,
    rejected: Array,
    opponents_chosen: Array,
    opponents_rejected: Array,
    ref_chosen: Array | None = None,
    ref_rejected: Array | None = None,
    chosen_len: Array | None = None,
    rejected_len: Array | None = None,
    margin: Array | None = None,
    beta: float = 1.0,
    eta: float = 0.0075,
    tau: float | None = None,
    weights: Sequence[float] | None = None,
    distance: str = "squared",
    target: str = "constant",
    length_normalized: bool = False,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and those of M opponents (M, B), and the gradient of their sum."""
    n_chosen = tokens(chosen_len, normalized=length_normalized)
    n_rejected = tokens(rejected_len, normalized=length_normalized)
    count, ratio = len(opponents_chosen), 1.0 / 3.0 if tau is None else tau / eta
    shares = np.full(count, 1.0 / max(count, 1)) if weights is None else np.asarray(weights, dtype=np.float64)
    a = chosen / n_chosen - rejected / n_rejected
    if ratio > 0.0 and ref_chosen is not None and ref_rejected is not None:
        a = a - ratio * (ref_chosen / n_chosen - ref_rejected / n_rejected)
    for share, q_chosen, q_rejected in zip(shares, opponents_chosen, opponents_rejected, strict=True):
        a = a - times((1.0 - ratio) * share, q_chosen / n_chosen - q_rejected / n_rejected)
    a = beta * a
    b = np.full(a.shape, np.inf if target == "hard" else 1.0 / (2.0 * eta))
    if target == "reward" and margin is not None:
        b = eta * margin
    if distance == "squared":
        losses = (a - b) * (a - b)
        # dL/da = 2 (a - b)
        slope = 2.0 * (a - b)
    else:
        # KL(a, b) = KL(-a, -b), so take b >= 0, where σ(-b) is the small weight and b = ∞ leaves softplus(-a)
        side = np.where(b < 0.0, -1.0, 1.0)
        a, b = side * a, side * b
        # cross-entropy minus entropy; softplus(-a) + σ(-b) a would be ∞ - ∞ at a = -∞
        losses = times(sigmoid(b), softplus(-a)) + times(sigmoid(-b), softplus(a))
        losses = losses - softplus(-b) - times(sigmoid(-b), b)
        # dL/da = σ(a) - σ(b) = σ(-b) - σ(-a)
        slope = side * (sigmoid(-b) - sigmoid(-a))
    # da/dchosen = β/n_w, da/drejected = -β/n_l; times -τ/η for the reference, -(1 - τ/η) λ_j for opponent j
    up, down = beta * slope / n_chosen, -beta * slope / n_rejected
    others = -(1.0 - ratio) * shares[:, None]
    grads = {"chosen": up, "rejected": down, "opponents_chosen": others * up, "opponents_rejected": others * down}
    if ref_chosen is not None and ref_rejected is not None:
        grads |= {"ref_chosen": -ratio * up, "ref_rejected": -ratio * down}
    return losses, grads
