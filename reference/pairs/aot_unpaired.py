"""AOT, unpaired: Melnyk et al. 2024, arXiv 2406.05882; ε as in TRL.

a = log π(y_w) - log π_ref(y_w) and b = the same of y_l, each sorted over the batch, ascending and stable
δ_(i) = a_(i) - b_(i),  L_(i) = (1 - ε) softplus(-β δ_(i)) + ε softplus(β δ_(i))
The loss at place i is that of the pair whose a stands there.
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def aot_unpaired(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.01,
    label_smoothing: float = 0.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    a, b = chosen - ref_chosen, rejected - ref_rejected
    better, worse = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
    z = beta * (a[better] - b[worse])
    losses, up, down = np.empty(len(z)), np.empty(len(z)), np.empty(len(z))
    losses[better] = times(1.0 - label_smoothing, softplus(-z)) + times(label_smoothing, softplus(z))
    # dL/dδ = β (ε - σ(-z));  dδ_(i) is +da of the pair at place i of a, and -db of the pair at place i of b
    up[better] = beta * (label_smoothing - sigmoid(-z))
    down[worse] = -beta * (label_smoothing - sigmoid(-z))
    return losses, {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
