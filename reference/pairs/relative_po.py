"""Relative Preference Optimization: Yin et al. 2024, arXiv 2402.10958; every chosen of a batch against every rejected.

a_i = log π(y_w) - log π_ref(y_w),  b_j = log π(y_l) - log π_ref(y_l) of the B pairs of a batch
w_ij = softmax over j of cos(x_i, x_j) / T, x the embeddings of the prompts, which are data; cos = 0 where one of them is
the zero vector, also with itself; w_ij = 1 without embeddings
m_ij = 1/B, or with d: m_ii = d and m_ij = (1 - d) / (B - 1); m = 1 for a single pair
L_i = Σ_j m_ij (-log σ(z_ij)),  z_ij = β w_ij (a_i - b_j)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softmax, softplus, times


@quiet
def relative_po(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    prompt_embedding: Array | None = None,
    beta: float = 0.1,
    temperature: float = 0.5,
    diagonal_weight: float | None = None,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and embeddings (B, D), and the gradient of their sum."""
    a, b, count = chosen - ref_chosen, rejected - ref_rejected, len(chosen)
    w = np.ones((count, count))
    if prompt_embedding is not None:
        # the largest entry becomes 1, so that no square overflows and only the zero vector is shorter than 1
        largest = np.max(np.abs(prompt_embedding), axis=1, keepdims=True, initial=0.0)
        x = prompt_embedding / np.where(largest == 0.0, 1.0, largest)
        x = x / np.maximum(np.sqrt(np.sum(x * x, axis=1, keepdims=True)), 1.0)
        for i in range(count):
            w[i] = softmax(np.sum(x * x[i], axis=1) / temperature)
    m = np.full((count, count), 1.0 / max(count, 1))
    if diagonal_weight is not None and count > 1:
        m = np.full((count, count), (1.0 - diagonal_weight) / (count - 1))
        np.fill_diagonal(m, diagonal_weight)
    z = beta * times(w, a[:, None] - b)
    losses = np.sum(times(m, softplus(-z)), axis=1)
    # dL_i/d(a_i - b_j) = -β m_ij w_ij σ(-z_ij)
    slope = -beta * m * w * sigmoid(-z)
    # d(Σ L)/da_i = Σ_j dL_i/d(a_i - b_j)
    up = np.sum(slope, axis=1)
    # d(Σ L)/db_j = -Σ_i dL_i/d(a_i - b_j), as every loss has b_j
    down = -np.sum(slope, axis=0)
    return losses, {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
