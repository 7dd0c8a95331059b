"""DNO: Rosset et al. 2024, arXiv 2404.03715; the reference is the last iterate π_t, r_t(y) = P(y beats π_t).

h = (log π(y_w) - log π(y_l)) - (log π_t(y_w) - log π_t(y_l)),  z = η h
L = -t log σ(z) - (1 - t) log σ(-z),  t = σ(r_t(y_w) - r_t(y_l)) (soft) or 1 (hard)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, sigmoid_gap, softplus, times


@quiet
def dno(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    margin: Array | None = None,
    eta: float = 0.1,
    target: str = "soft",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = eta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    goal = margin if target == "soft" and margin is not None else np.full(z.shape, np.inf)
    losses = times(sigmoid(goal), softplus(-z)) + times(sigmoid(-goal), softplus(z))
    # dL/dh = η (σ(z) - t)
    slope = eta * sigmoid_gap(z, goal)
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
