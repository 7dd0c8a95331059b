"""AQL (adaptive quantile loss): Lu et al. 2024 (DiscoPOP), arXiv 2406.08414.

z = β ((log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))),  x = 20 z,  x̄ its mean over the batch of B
q = 0.5 + 0.01 (σ(x̄) - 0.5),  w = σ(q - x)
L = w A + (1 - w) R,  A = -log σ(z),  R = max(0, 1 - z)
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
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum, which x̄ couples."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    x, count = 20.0 * z, max(len(z), 1)
    mean = np.asarray(np.sum(x) / count)
    q = 0.5 + 0.01 * (sigmoid(mean) - 0.5)
    w, rest = sigmoid(q - x), sigmoid(x - q)
    losses = times(w, softplus(-z)) + times(rest, np.maximum(0.0, 1.0 - z))
    # A - R = log(1 + e^z) - 1 where z < 1, else log(1 + e^-z)
    apart = np.where(z < 1.0, softplus(z) - 1.0, softplus(-z))
    # dL/dw = A - R,  dw/dq = w (1 - w)
    through = times(w * rest, apart)
    # ∂L/∂z at a fixed q: dA/dz = -σ(-z), dR/dz = -[z < 1], dw/dz = -20 dw/dq
    slope = -w * sigmoid(-z) - rest * relu_slope(1.0 - z) - 20.0 * through
    # d(Σ L)/dq = Σ_i dL_i/dw_i dw_i/dq,  dq/dz_j = 20 · 0.01 σ(x̄) σ(-x̄) / B
    slope = slope + np.sum(through) * 0.2 * sigmoid(mean) * sigmoid(-mean) / count
    # dz/dlog π(y_w) = β
    slope = beta * slope
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
