"""Dr. DPO: Wu et al. 2024, arXiv 2407.07880, a soft minimum over the batch that mistrusts pairs of high loss.

ℓ_i = softplus(-β h_i),  h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  β' the robustness
L = -β' log mean_i e^{-ℓ_i / β'}, the same number for every pair, so that the batch mean is L
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softmax, softplus


@quiet
def dr_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    robustness: float = 1.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    each = softplus(-beta * h)
    least = np.min(each)
    total = least - robustness * np.log1p(np.mean(np.expm1(-(each - least) / robustness)))
    # dL/dℓ_i = softmax(-ℓ / β')_i,  dℓ_i/dh_i = -β σ(-β h_i);  the sum over the batch is B times L
    slope = -len(h) * softmax(-each / robustness) * beta * sigmoid(-beta * h)
    return np.full(len(h), total), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
