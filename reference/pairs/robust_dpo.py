"""Robust DPO: Chowdhury, Kini, Natarajan 2024, arXiv 2403.00409; unbiased under labels flipped with probability ε.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  z = β h
L = [-(1 - ε) log σ(z) + ε log σ(-z)] / (1 - 2 ε) = softplus(-z) - ε z / (1 - 2 ε)
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def robust_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    label_smoothing: float = 0.1,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    tilt = label_smoothing / (1.0 - 2.0 * label_smoothing)
    losses = softplus(-z) - times(tilt, z)
    # dL/dh = -β [σ(-z) + ε / (1 - 2 ε)]
    slope = -beta * (sigmoid(-z) + tilt)
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
