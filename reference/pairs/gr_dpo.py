"""GR-DPO: Ramesh et al. 2024, arXiv 2405.20304, DPO with a weight for each group of annotators.

ℓ_i = softplus(-β h_i),  h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
L_i = q_g ℓ_i B / n_g with g the group of pair i, n_g its pairs in the batch of B, so that mean L = Σ_g q_g mean_g ℓ
"""

import numpy as np
from numpy.typing import NDArray

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def gr_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    annotator: NDArray[np.int64],
    beta: float = 0.1,
    weights: tuple[float, ...] = (0.5, 0.5),
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    members = np.array([np.sum(annotator == group) for group in annotator])
    share = np.asarray(weights, dtype=np.float64)[annotator] * len(h) / members
    # dL_i/dh_i = -q_g B / n_g β σ(-β h_i)
    slope = -share * beta * sigmoid(-beta * h)
    losses = times(share, softplus(-beta * h))
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
