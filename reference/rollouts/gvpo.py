"""GVPO: Zhang et al. 2025, arXiv 2504.19599, as in the authors' code.

x = k / (k - 1) ½ (s_i - sg[mean_j s_j] - A)², s = β Σ_t d_t, over the k completions of the prompt; 0 where k = 1
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, member


@member(aggregation="sequence_mean")
def gvpo(one: One, *, beta: float = 0.1) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    group = [beta * other.d.sum() for other in one.batch if other.group == one.group]
    if len(group) == 1:
        return np.zeros(len(one.l)), np.zeros((len(one.l), len(one.l)))
    error = beta * one.d.sum() - np.mean(group) - one.a
    factor = len(group) / (len(group) - 1)
    # dx_t/dl_s = k / (k - 1) β (s - mean s - A_t), the mean being held
    return factor / 2 * error**2, np.outer(factor * beta * error, np.ones(len(one.l)))
