"""APO-down: D'Oosterlinck et al. 2024, arXiv 2408.06266, both completions down, rejected further.

L = σ(β a) + (1 - σ(β (a - b))),  a, b = log π - log π_ref of chosen and rejected
"""

from poz.reference._stable import Array, Result, quiet, sigmoid


@quiet
def apo_down(*, chosen: Array, rejected: Array, ref_chosen: Array, ref_rejected: Array, beta: float = 0.1) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum."""
    x, y = beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)
    # dL/da = β (σ'(β a) - σ'(β (a - b))),  dL/db = β σ'(β (a - b)),  σ' = σ(x) σ(-x)
    pull = beta * sigmoid(x - y) * sigmoid(y - x)
    up = beta * sigmoid(x) * sigmoid(-x) - pull
    return sigmoid(x) + sigmoid(y - x), {"chosen": up, "rejected": pull, "ref_chosen": -up, "ref_rejected": -pull}
