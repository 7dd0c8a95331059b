"""The contrastive term of Secrets of RLHF II: Wang et al. 2024, arXiv 2401.06080, with the loss of SimCSE.

Of a batch of B pairs there are 2B items x_i: the embeddings of y_w and then those of y_l, or the differences
f(y_w) - f(y_l) and then the same of the other sign; y_i are the items of the other pass
s_ij = cos(x_i, y_j) / τ, 0 where one of the two is the zero vector
ℓ_i = -log (e^s_ii / Σ_j e^s_ij) = log(1 + Σ_{j≠i} e^(s_ij - s_ii));  L of a pair = (ℓ_i + ℓ_{B+i}) / 2
"""

import numpy as np

from poz.reference._stable import Array, Result, logsumexp, quiet, sigmoid, softmax, softplus


def _unit(x: Array) -> tuple[Array, Array]:
    """Return x / ‖x‖ and 1 / ‖x‖ (N, 1) of the rows, both 0 of a row of zeros; no square overflows."""
    largest = np.max(np.abs(x), axis=1, keepdims=True, initial=0.0)
    scale = np.where(largest == 0.0, 1.0, largest)
    norm = np.sqrt(np.sum((x / scale) ** 2, axis=1, keepdims=True))
    inverse = np.where(largest == 0.0, 0.0, 1.0 / np.where(largest == 0.0, 1.0, norm))
    return x / scale * inverse, inverse / scale


def _back(slope: Array, unit: Array, inverse: Array) -> Array:
    """Return the slope in x, of that in u = x / ‖x‖: (g - u (u · g)) / ‖x‖."""
    along: Array = unit * np.sum(unit * slope, axis=1, keepdims=True)
    back: Array = (slope - along) * inverse
    return back


@quiet
def reward_contrastive(
    *,
    chosen_embedding: Array,
    rejected_embedding: Array,
    chosen_view: Array,
    rejected_view: Array,
    temperature: float = 0.05,
    items: str = "embeddings",
) -> Result:
    """Losses (B,) in nats from the embeddings (B, D) of two passes, and the gradient of their sum."""
    pairs = len(chosen_embedding)
    first, second = (
        np.concatenate([c, r]) if items == "embeddings" else np.concatenate([c - r, r - c])
        for c, r in ((chosen_embedding, rejected_embedding), (chosen_view, rejected_view))
    )
    u, u_inverse = _unit(first)
    v, v_inverse = _unit(second)
    losses, toward = np.zeros(2 * pairs), np.zeros((2 * pairs, 2 * pairs))
    for i in range(2 * pairs):
        apart = np.delete(np.sum(v * u[i], axis=1) - np.sum(v[i] * u[i]), i) / temperature
        far = logsumexp(apart)
        losses[i] = softplus(np.asarray(far))
        # dℓ_i/d(τ s_ij) = e^(s_ij - s_ii) / (1 + Σ ...) / τ for j ≠ i, and minus the sum of these for j = i
        shares = softmax(apart) * sigmoid(np.asarray(far)) / temperature
        toward[i] = np.insert(shares, i, -np.sum(shares))
    # each of the two items of a pair counts one half
    up, down = _back(toward @ v / 2, u, u_inverse), _back(toward.T @ u / 2, v, v_inverse)
    gradients: dict[str, Array] = {}
    for name, slope in (("embedding", up), ("view", down)):
        one, other = slope[:pairs], slope[pairs:]
        # d(f_w - f_l)/df_w = 1 and d(f_l - f_w)/df_w = -1
        chosen, rejected = (one, other) if items == "embeddings" else (one - other, other - one)
        gradients |= {f"chosen_{name}": chosen, f"rejected_{name}": rejected}
    return (losses[:pairs] + losses[pairs:]) / 2, gradients
