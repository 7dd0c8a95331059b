"""NPO: Zhang et al. 2024, arXiv 2404.05868, the rejected half of DPO for completions to be forgotten.

L = -w (2/β) log σ(-β a) = w (2/β) softplus(β a),  a = log π(y) - log π_ref(y)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def npo(*, logps: Array, ref_logps: Array, weights: Array | None = None, beta: float = 0.1) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum."""
    x = beta * (logps - ref_logps)
    weight = np.ones(len(logps)) if weights is None else weights
    # dL/da = w (2/β) β σ(β a)
    slope = weight * 2.0 * sigmoid(x)
    return times(weight, 2.0 / beta * softplus(x)), {"logps": slope, "ref_logps": -slope}
