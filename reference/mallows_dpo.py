"""Mallows-DPO: Chen et al. 2024, arXiv 2405.14953, DPO scaled by the dispersion of the prompt.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
φ = -κ log H̄, H̄ the normalised entropy of the reference;  L = -log σ(β φ h)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def mallows_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    entropy: Array,
    beta: float = 0.1,
    kappa: float = 0.29,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    scale = beta * -kappa * np.log(entropy)
    # dL/dh = -β φ σ(-β φ h)
    slope = -scale * sigmoid(-scale * h)
    return softplus(-scale * h), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
