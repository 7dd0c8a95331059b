"""ONPO: Zhang et al. 2025, arXiv 2502.16852; both steps of an iteration minimise this loss, with another opponent.

L = ((log π(y_w) - log π(y_l)) - (log π'(y_w) - log π'(y_l)) - η / 2)²
"""

from poz.reference._stable import Array, Result, quiet


@quiet
def onpo(
    *, chosen: Array, rejected: Array, opponents_chosen: Array, opponents_rejected: Array, eta: float = 0.1
) -> Result:
    """Losses (B,) from summed log-probs (B,), those of one opponent (1, B), and the gradient of their sum."""
    error = (chosen - rejected) - (opponents_chosen[0] - opponents_rejected[0]) - 0.5 * eta
    # dL/d(log π(y_w) - log π(y_l)) = 2 (error)
    slope = 2.0 * error
    return error**2, {
        "chosen": slope,
        "rejected": -slope,
        "opponents_chosen": -slope[None, :],
        "opponents_rejected": slope[None, :],
    }
