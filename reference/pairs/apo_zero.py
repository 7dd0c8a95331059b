"""APO-zero: D'Oosterlinck et al. 2024, arXiv 2408.06266, chosen up and rejected down, each against the reference.

L = (1 - σ(β a)) + σ(β b),  a, b = log π - log π_ref of chosen and rejected
"""

from poz.reference._stable import Array, Result, quiet, sigmoid


@quiet
def apo_zero(*, chosen: Array, rejected: Array, ref_chosen: Array, ref_rejected: Array, beta: float = 0.1) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum."""
    x, y = beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)
    # σ' = σ(x) σ(-x)
    up, down = -beta * sigmoid(x) * sigmoid(-x), beta * sigmoid(y) * sigmoid(-y)
    return sigmoid(-x) + sigmoid(y), {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
