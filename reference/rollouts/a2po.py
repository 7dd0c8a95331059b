"""A*-PO: Brantley et al. 2025, arXiv 2505.20686, as in the authors' code.

x = (β Σ_s (l_s - q_s) - A)², the same at every token
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, member


@member(aggregation="sequence_mean")
def a2po(one: One, *, beta: float = 1e-3) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    error = beta * (one.l - one.q).sum() - one.a
    # dx_t/dl_s = 2 β (β Σ (l - q) - A_t), for every s
    return error**2, np.outer(2 * beta * error, np.ones(len(one.l)))
