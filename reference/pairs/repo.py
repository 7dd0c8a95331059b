"""RePO: Wu et al. 2025, arXiv 2503.07426, SimPO with a hinge, its limit β → ∞.

p = log π(y) / |y|
L = max(0, γ - (p_w - p_l))
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope, tokens


@quiet
def repo(
    *,
    chosen: Array,
    rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    gamma: float = 0.4,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and lengths (B,), and the gradient of their sum."""
    n_chosen, n_rejected = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    short = gamma - (chosen / n_chosen - rejected / n_rejected)
    # dL/dp_w = -[short > 0] = -dL/dp_l, and 0 at the kink
    push = relu_slope(short)
    return np.maximum(0.0, short), {"chosen": -push / n_chosen, "rejected": push / n_rejected}
