"""CELL (combined exponential and logistic): Lu et al. 2024 (DiscoPOP), arXiv 2406.08414.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  z = β h
L = E(-z) / 2 - log σ(z) / 2,  E(x) = e^x up to LIMIT
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, tangent_exp, tangent_exp_slope


@quiet
def cell(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.05,
) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    losses = 0.5 * tangent_exp(-z) + 0.5 * softplus(-z)
    # dL/dz = -(E'(-z) + σ(-z)) / 2
    slope = -0.5 * beta * (tangent_exp_slope(-z) + sigmoid(-z))
    return losses, {
        "chosen": slope,
        "rejected": -slope,
        "ref_chosen": -slope,
        "ref_rejected": slope,
    }
