"""DRO on tokens, as in verl; the penalty of arXiv 2405.19107.

x = -A l + (β/2) d²
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, member


@member(aggregation="token_mean")
def dro(one: One, *, beta: float = 1.0) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    # dx/dl = -A + β d
    return beta / 2 * one.d**2 - one.a * one.l, np.diag(beta * one.d - one.a)
