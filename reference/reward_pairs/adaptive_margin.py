"""Secrets of RLHF, part II: Wang et al. 2024, arXiv 2401.06080, eq. 5 (smoothing) and 6 (margin), with flips.

μ the mean of r_w - r_l over an ensemble. A pair with μ < μ0 is swapped, which turns d = r_w - r_l and μ round.
z = d - λ μ,  a = α where μ < μ1 then, else 0
L = -(1 - a) log σ(z) - a log σ(-z) = softplus(-z) + a z
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def adaptive_margin(
    *,
    chosen: Array,
    rejected: Array,
    strength: Array,
    margin_scale: float = 1.0,
    flip_below: float | None = None,
    smooth_below: float | None = None,
    label_smoothing: float = 0.0,
) -> Result:
    """Losses (B,) in nats from scores (B,), and the gradient of their sum."""
    first, second, mu = chosen.copy(), rejected.copy(), strength.copy()
    swapped = np.zeros(len(mu), bool) if flip_below is None else strength < flip_below
    first[swapped], second[swapped], mu[swapped] = rejected[swapped], chosen[swapped], -strength[swapped]
    a = np.full(len(mu), label_smoothing)
    if smooth_below is not None:
        a[mu >= smooth_below] = 0.0
    z = first - second - times(margin_scale, mu)
    losses = times(1.0 - a, softplus(-z)) + times(a, softplus(z))
    # dL/dz = σ(z) - (1 - a) = a - σ(-z), which is that of the first side of a swapped pair
    slope = np.where(swapped, -1.0, 1.0) * (a - sigmoid(-z))
    return losses, {"chosen": slope, "rejected": -slope}
