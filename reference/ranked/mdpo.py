"""mDPO: arXiv 2406.11839, completions in this order: chosen, rejected, chosen given a corrupted image.

a, b, c = log π - log π_ref of the three
L = -log σ(β (a - b)) - log σ(β (a - c)) - log σ(β a - δ)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def mdpo(*, logps: Array, ref_logps: Array, beta: float = 0.1, delta: float = 0.0) -> Result:
    """Losses (B,) in nats from summed log-probs (B, 3), and the gradient of their sum."""
    a, b, c = (logps - ref_logps).T
    u, v, anchor = beta * (a - b), beta * (a - c), beta * a - delta
    losses = softplus(-u) + softplus(-v) + softplus(-anchor)
    # dL/da = -β (σ(-u) + σ(-v) + σ(-anchor))
    up = -beta * (sigmoid(-u) + sigmoid(-v) + sigmoid(-anchor))
    # dL/db = β σ(-u), dL/dc = β σ(-v)
    slopes = np.stack([up, beta * sigmoid(-u), beta * sigmoid(-v)], axis=1)
    return losses, {"logps": slopes, "ref_logps": -slopes}
