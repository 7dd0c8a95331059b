"""AQFL (adaptive quantile feedback loss): Lu et al. 2024 (DiscoPOP), arXiv 2406.08414.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)) of the B pairs of a batch
h̄, S = mean and unbiased standard deviation of h, S = 0 for one pair;  m = mean of σ(-h)
q = 0.95 S m + 0.05 σ(h̄),  w = σ(0.1 |h - q|)
L = w A + (1 - w) R,  A = -log σ(β h),  R = max(0, 1 - β h)
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
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum, which h̄, S and m couple."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    count = max(len(h), 1)
    mean, wrong = np.asarray(np.sum(h) / count), np.sum(sigmoid(-h)) / count
    if np.all(h == h[:1]):  # the rounding of the mean of equal margins is no spread
        spread, widens = 0.0, np.zeros(len(h))
    else:
        spread = np.sqrt(np.sum((h - mean) ** 2) / max(count - 1, 1))
        # dS/dh_j = (h_j - h̄) / ((B - 1) S)
        widens = (h - mean) / (max(count - 1, 1) * spread)
    q = 0.95 * spread * wrong + 0.05 * sigmoid(mean)
    w, rest = sigmoid(0.1 * np.abs(h - q)), sigmoid(-0.1 * np.abs(h - q))
    z = beta * h
    losses = times(w, softplus(-z)) + times(rest, np.maximum(0.0, 1.0 - z))
    # A - R = log(1 + e^z) - 1 where z < 1, else log(1 + e^-z)
    apart = np.where(z < 1.0, softplus(z) - 1.0, softplus(-z))
    # dL/dw = A - R,  dw/dh at a fixed q = 0.1 sign(h - q) w (1 - w) = -dw/dq
    through = 0.1 * np.sign(h - q) * times(w * rest, apart)
    # ∂L/∂h at a fixed q: dA/dh = -β σ(-z), dR/dh = -β [z < 1]
    slope = through - beta * (w * sigmoid(-z) + rest * relu_slope(1.0 - z))
    # dq/dh_j = 0.95 (m dS/dh_j - S σ(h_j) σ(-h_j) / B) + 0.05 σ(h̄) σ(-h̄) / B
    moves = 0.95 * (wrong * widens - spread * sigmoid(h) * sigmoid(-h) / count)
    moves = moves + 0.05 * sigmoid(mean) * sigmoid(-mean) / count
    # d(Σ L)/dq = Σ_i dL_i/dw_i dw_i/dq
    slope = slope - np.sum(through) * moves
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
