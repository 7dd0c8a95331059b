"""BCO: Jung et al. 2024, arXiv 2404.04656, a classifier of good against bad with logit β a - δ.

a = log π(y) - log π_ref(y);  desirable: w softplus(-(β a - δ));  undesirable: w softplus(β a - δ);  δ is a constant
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus, times


@quiet
def bco(
    *,
    logps: Array,
    ref_logps: Array,
    desirable: Mask,
    weights: Array | None = None,
    beta: float = 0.1,
    baseline: float = 0.0,
) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum."""
    side = np.where(desirable, 1.0, -1.0)
    weight = np.ones(len(logps)) if weights is None else weights
    # d softplus(-x) / dx = -σ(-x) with x = ±(β a - δ)
    x = side * (beta * (logps - ref_logps) - baseline)
    slope = -weight * side * beta * sigmoid(-x)
    return times(weight, softplus(-x)), {"logps": slope, "ref_logps": -slope}
