"""DIL (direct imitation learning): Xiao et al. 2025, arXiv 2503.05079, three density-ratio losses.

a = log π(y_w) - log π_ref(y_w),  b = log π(y_l) - log π_ref(y_l),  E(x) = e^x up to LIMIT
lsif: L = -E(a) + E(2 b) / 2      ukl: L = -log π(y_w) + E(b)      bce: L = -log σ(a) - log σ(-b)
With lengths, every log-prob is divided by the length of its own completion.
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, tangent_exp, tangent_exp_slope, tokens


@quiet
def dil(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_len: Array | None = None,
    rejected_len: Array | None = None,
    loss: str = "lsif",
    length_normalized: bool = False,
) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum."""
    n_chosen = tokens(chosen_len, normalized=length_normalized)
    n_rejected = tokens(rejected_len, normalized=length_normalized)
    a, b = (chosen - ref_chosen) / n_chosen, (rejected - ref_rejected) / n_rejected
    if loss == "lsif":
        losses = 0.5 * tangent_exp(2.0 * b) - tangent_exp(a)
        # dL/da = -E'(a), dL/db = E'(2 b)
        up, down = -tangent_exp_slope(a), tangent_exp_slope(2.0 * b)
    elif loss == "ukl":
        losses = tangent_exp(b) - chosen / n_chosen
        # dL/dlog π(y_w) = -1, dL/db = E'(b); the reference of y_w does not enter
        up, down = -np.ones(len(chosen)), tangent_exp_slope(b)
    else:
        losses = softplus(-a) + softplus(b)
        # dL/da = -σ(-a), dL/db = σ(b)
        up, down = -sigmoid(-a), sigmoid(b)
    up, down = up / n_chosen, down / n_rejected
    ref_up = 0.0 * up if loss == "ukl" else -up
    return losses, {"chosen": up, "rejected": down, "ref_chosen": ref_up, "ref_rejected": -down}
