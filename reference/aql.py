"""AQL (adaptive quantile loss): Lu et al. 2024 (DiscoPOP), arXiv 2406.08414.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  h̄ its mean over the batch of B
q = 0.5 + 0.01 (σ(h̄) - 0.5),  w = σ(-β (h - q))
L = w A + (1 - w) R,  A = -log σ(β h),  R = max(0, 1 - β h)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope, sigmoid, softplus, times


@quiet
def aql(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.05,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum, which h̄ couples."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    count = max(len(h), 1)
    mean = np.asarray(np.sum(h) / count)
    q = 0.5 + 0.01 * (sigmoid(mean) - 0.5)
    w, rest = sigmoid(-beta * (h - q)), sigmoid(beta * (h - q))
    z = beta * h
    losses = times(w, softplus(-z)) + times(rest, np.maximum(0.0, 1.0 - z))
    # A - R = log(1 + e^z) - 1 where z < 1, else log(1 + e^-z)
    apart = np.where(z < 1.0, softplus(z) - 1.0, softplus(-z))
    # dL/dw = A - R,  dw/dq = β w (1 - w)
    through = beta * times(w * rest, apart)
    # ∂L/∂h at a fixed q: dA/dh = -β σ(-z), dR/dh = -β [z < 1], dw/dh = -dw/dq
    slope = -beta * (w * sigmoid(-z) + rest * relu_slope(1.0 - z)) - through
    # d(Σ L)/dq = Σ_i dL_i/dw_i dw_i/dq,  dq/dh_j = 0.01 σ(h̄) σ(-h̄) / B
    slope = slope + np.sum(through) * 0.01 * sigmoid(mean) * sigmoid(-mean) / count
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
