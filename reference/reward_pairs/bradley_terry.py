"""Bradley-Terry reward models: Ouyang et al. 2022, arXiv 2203.02155, eq. 1, with what trainers add.

d = r_w - r_l,  z = (d - m) / τ;  m the margin (0), p the probability that y_w is better (1)
L = -p log σ(z) - (1 - p) log σ(-z), or w d² where the annotators saw no difference;  + c (r_w + r_l)² for all
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus, times


@quiet
def bradley_terry(
    *,
    chosen: Array,
    rejected: Array,
    label: Array | None = None,
    margin: Array | None = None,
    tie: Mask | None = None,
    temperature: float = 1.0,
    tie_weight: float = 1.0,
    centering: float = 0.0,
) -> Result:
    """Losses (B,) in nats from scores (B,), and the gradient of their sum."""
    d, total = chosen - rejected, chosen + rejected
    tied = np.zeros(len(d), bool) if tie is None else tie
    p = np.ones(len(d)) if label is None else label
    z = (d - (0.0 if margin is None else margin)) / temperature
    decided = times(p, softplus(-z)) + times(1.0 - p, softplus(z))
    losses = np.where(tied, times(tie_weight, d * d), decided) + times(centering, total * total)
    # d/dd: (σ(z) - p) / τ = [(1 - p) σ(z) - p σ(-z)] / τ, or 2 w d;  d/d(r_w + r_l) = 2 c (r_w + r_l)
    apart = np.where(tied, times(2.0 * tie_weight, d), ((1.0 - p) * sigmoid(z) - p * sigmoid(-z)) / temperature)
    common = times(2.0 * centering, total)
    return losses, {"chosen": common + apart, "rejected": common - apart}
