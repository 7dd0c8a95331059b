"""NPO: Zhang et al. 2024, arXiv 2404.05868, the rejected half of DPO for completions to be forgotten.

L = -(2/β) log σ(-β a) = (2/β) softplus(β a),  a = log π(y) - log π_ref(y)
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def npo(*, logps: Array, ref_logps: Array, beta: float = 0.1) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum."""
    x = beta * (logps - ref_logps)
    # dL/da = (2/β) β σ(β a)
    slope = 2.0 * sigmoid(x)
    return 2.0 / beta * softplus(x), {"logps": slope, "ref_logps": -slope}
