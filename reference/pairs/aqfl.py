"""AQFL (adaptive quantile feedback loss): Lu et al. 2024 (DiscoPOP), arXiv 2406.08414.

z = β ((log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))) of the B pairs of a batch,  x = 20 z
x̄, S = mean and unbiased standard deviation of x, S = 0 for one pair;  m = mean of σ(-x)
q = 0.95 S m + 0.05 σ(x̄),  w = σ(0.1 |x - q|)
L = w A + (1 - w) R,  A = -log σ(z),  R = max(0, 1 - z)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope, sigmoid, softplus, times


@quiet
def aqfl(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.05,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum, which x̄, S and m couple."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    if np.any(np.isinf(z)) and not np.any(np.isnan(z)):  # so are S and q, hence w = 1 and L = A for all
        slope = -beta * sigmoid(-z)
        return softplus(-z), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
    x, count = 20.0 * z, max(len(z), 1)
    mean, wrong = np.asarray(np.sum(x) / count), np.sum(sigmoid(-x)) / count
    if np.all(x == x[:1]):  # the rounding of the mean of equal margins is no spread
        spread, widens = 0.0, np.zeros(len(x))
    else:
        spread = np.sqrt(np.sum((x - mean) ** 2) / max(count - 1, 1))
        # dS/dx_j = (x_j - x̄) / ((B - 1) S)
        widens = (x - mean) / (max(count - 1, 1) * spread)
    q = 0.95 * spread * wrong + 0.05 * sigmoid(mean)
    w, rest = sigmoid(0.1 * np.abs(x - q)), sigmoid(-0.1 * np.abs(x - q))
    losses = times(w, softplus(-z)) + times(rest, np.maximum(0.0, 1.0 - z))
    # A - R = log(1 + e^z) - 1 where z < 1, else log(1 + e^-z)
    apart = np.where(z < 1.0, softplus(z) - 1.0, softplus(-z))
    # dL/dw = A - R,  dw/dx at a fixed q = 0.1 sign(x - q) w (1 - w) = -dw/dq
    through = 0.1 * np.sign(x - q) * times(w * rest, apart)
    # ∂L/∂z at a fixed q: dA/dz = -σ(-z), dR/dz = -[z < 1], dx/dz = 20
    slope = 20.0 * through - (w * sigmoid(-z) + rest * relu_slope(1.0 - z))
    # dq/dx_j = 0.95 (m dS/dx_j - S σ(x_j) σ(-x_j) / B) + 0.05 σ(x̄) σ(-x̄) / B
    moves = 0.95 * (wrong * widens - spread * sigmoid(x) * sigmoid(-x) / count)
    moves = moves + 0.05 * sigmoid(mean) * sigmoid(-mean) / count
    # d(Σ L)/dq = Σ_i dL_i/dw_i dw_i/dq
    slope = slope - np.sum(through) * 20.0 * moves
    # dz/dlog π(y_w) = β
    slope = beta * slope
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
