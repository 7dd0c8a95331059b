"""Generalised preference optimization: Tang et al. 2024, arXiv 2402.05749, one loss per convex (or other) link f.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  z = β h,  L = f(z)
exponential: E(-z), E(x) = e^x up to LIMIT      truncated quadratic: max(0, 1 - z)²      savage: σ(-z)²
square: (z - 1)²                                logistic: -log σ(z)                      hinge: max(0, 1 - z)
"""

import numpy as np

from poz.reference._stable import (
    Array,
    Result,
    quiet,
    relu_slope,
    sigmoid,
    softplus,
    tangent_exp,
    tangent_exp_slope,
)


def loss_and_slope(link: str, z: Array) -> tuple[Array, Array]:
    """f(z) and f'(z)."""
    short = np.maximum(0.0, 1.0 - z)
    if link == "exponential":
        # f' = -E'(-z)
        return tangent_exp(-z), -tangent_exp_slope(-z)
    if link == "truncated_quadratic":
        # f' = -2 max(0, 1 - z)
        return short * short, -2.0 * short
    if link == "savage":
        # f' = -2 σ(-z) σ(z) σ(-z)
        return sigmoid(-z) ** 2, -2.0 * sigmoid(-z) ** 2 * sigmoid(z)
    if link == "square":
        # f' = 2 (z - 1)
        return (z - 1.0) * (z - 1.0), 2.0 * (z - 1.0)
    if link == "hinge":
        # f' = -[z < 1], and 0 at the kink
        return short, -relu_slope(1.0 - z)
    # f' = -σ(-z)
    return softplus(-z), -sigmoid(-z)


@quiet
def gpo_link(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    link: str = "exponential",
) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum."""
    losses, fall = loss_and_slope(link, beta * ((chosen - rejected) - (ref_chosen - ref_rejected)))
    # dL/dh = β f'(z)
    slope = beta * fall
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
