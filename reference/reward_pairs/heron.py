"""HERON: Bukharin et al. 2023, arXiv 2309.02632; ranked factors decide which completion is the better one.

y = sign(f_k(y_w) - f_k(y_l)) at the first factor k with |f_k(y_w) - f_k(y_l)| > δ_k, and 0 where there is none; a factor
that is not a number leaves the pair open, if it is reached
L_i = B/n |y_i| softplus(-y_i d_i),  d = r_w - r_l, n the pairs of the batch of B with y ≠ 0, so that mean L is their mean
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


def _winner(better: Array, worse: Array, thresholds: Array) -> float:
    for gap, threshold in zip(better - worse, thresholds, strict=True):
        if np.isnan(gap):
            return float(gap)
        if abs(gap) > threshold:
            return float(np.sign(gap))
    return 0.0


@quiet
def heron(
    *,
    chosen: Array,
    rejected: Array,
    chosen_factors: Array,
    rejected_factors: Array,
    delta: tuple[float, ...] | None = None,
) -> Result:
    """Losses (B,) in nats from scores (B,) and factors (B, F), and the gradient of their sum."""
    thresholds = np.zeros(chosen_factors.shape[1]) if delta is None else np.asarray(delta, dtype=np.float64)
    y = np.array([_winner(a, b, thresholds) for a, b in zip(chosen_factors, rejected_factors, strict=True)])
    weight = np.abs(y) * len(y) / max(np.count_nonzero(y), 1)
    z = times(y, chosen - rejected)
    # dL/dd = -(B/n) |y| y σ(-z)
    slope = times(-weight * y, sigmoid(-z))
    return times(weight, softplus(-z)), {"chosen": slope, "rejected": -slope}
