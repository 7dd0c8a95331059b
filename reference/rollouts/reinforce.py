"""REINFORCE: Williams 1992.

x = -A l
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, member


@member(aggregation="sequence_sum")
def reinforce(one: One) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    # dx/dl = -A
    return -one.a * one.l, np.diag(-one.a)
