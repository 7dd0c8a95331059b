"""AOT, paired: Melnyk et al. 2024, arXiv 2406.05882; ε as in TRL.

u = log π(y_w) - log π(y_l) and v = the same of π_ref, each sorted over the batch, ascending and stable
δ_(i) = u_(i) - v_(i),  L_(i) = (1 - ε) softplus(-β δ_(i)) + ε softplus(β δ_(i))
The loss at place i is that of the pair whose u stands there.
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def aot(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.01,
    label_smoothing: float = 0.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    u, v = chosen - rejected, ref_chosen - ref_rejected
    ours, theirs = np.argsort(u, kind="stable"), np.argsort(v, kind="stable")
    z = beta * (u[ours] - v[theirs])
    losses, slope, back = np.empty(len(z)), np.empty(len(z)), np.empty(len(z))
    losses[ours] = times(1.0 - label_smoothing, softplus(-z)) + times(label_smoothing, softplus(z))
    # dL/dδ = β (ε - σ(-z));  dδ_(i) is +du of the pair at place i of u, and -dv of the pair at place i of v
    slope[ours] = beta * (label_smoothing - sigmoid(-z))
    back[theirs] = beta * (label_smoothing - sigmoid(-z))
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -back, "ref_rejected": back}
