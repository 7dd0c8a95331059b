"""MAPL: Sun et al. 2025, arXiv 2505.12845, two responses under two prompts; which terms are settled: `poz show mapl`.

Columns: (x_w, y_w), (x_w, y_l), (x_l, y_w), (x_l, y_l);  d = log π - log π_ref of each
p = β (d1 - d2) ranks the responses, a = β (d1 - d3) the prompts, e = β ((d1 - d2) - (d3 - d4)) the two gaps
L = -log σ(p) - v log σ(a) - w log σ(e),  v = intra_weight, w = inter_weight
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def mapl(
    *,
    logps: Array,
    ref_logps: Array,
    beta: float = 0.1,
    intra_weight: float = 1.0,
    inter_weight: float = 1.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B, 4), and the gradient of their sum."""
    d1, d2, d3, d4 = (logps - ref_logps).T
    p, a, e = beta * (d1 - d2), beta * (d1 - d3), beta * ((d1 - d2) - (d3 - d4))
    losses = softplus(-p) + times(intra_weight, softplus(-a)) + times(inter_weight, softplus(-e))
    # dL/dp = -σ(-p), dL/da = -v σ(-a), dL/de = -w σ(-e)
    sp, sa, se = -beta * sigmoid(-p), -beta * intra_weight * sigmoid(-a), -beta * inter_weight * sigmoid(-e)
    # d1 is in all three with +, d2 in p and e with -, d3 in a and e with -, d4 in e with +
    slopes = np.stack([sp + sa + se, -sp - se, -sa - se, se], axis=1)
    return losses, {"logps": slopes, "ref_logps": -slopes}
