"""The general preference (embedding) model: Zhang et al. 2024, arXiv 2410.02197; v are the embeddings, λ the scales.

s = Σ_l λ_l (v_w[2l] v_l[2l+1] - v_w[2l+1] v_l[2l]),  u = (s - m) / τ,  P is the label
logistic: L = P softplus(-u) + (1 - P) softplus(u);  regression: L = P (u - T)² / 2 + (1 - P) (u + T)² / 2
margin_regression: u = s / τ, L = P (u - T σ(m))² / 2 + (1 - P) (u + T σ(-m))² / 2
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def gpm(
    *,
    chosen_embedding: Array,
    rejected_embedding: Array,
    scales: Array | None = None,
    label: Array | None = None,
    margin: Array | None = None,
    temperature: Array | float = 0.1,
    link: str = "logistic",
    target: Array | float = 10.0,
) -> Result:
    """Losses (B,) in nats from embeddings (B, 2k), scales (B, k), and the gradient of their sum."""
    count, width = chosen_embedding.shape
    P = np.ones(count) if label is None else label
    m = np.zeros(count) if margin is None else margin
    lam = np.ones((count, width // 2)) if scales is None else scales
    s = np.zeros(count)
    for i in range(width // 2):
        x, y = 2 * i, 2 * i + 1
        area = chosen_embedding[:, x] * rejected_embedding[:, y] - chosen_embedding[:, y] * rejected_embedding[:, x]
        s = s + lam[:, i] * area
    aim, other = target * np.ones(count), target * np.ones(count)
    if link == "margin_regression":
        aim, other, m = target * sigmoid(m), target * sigmoid(-m), np.zeros(count)
    u = (s - m) / temperature
    if link == "logistic":
        losses = times(P, softplus(-u)) + times(1.0 - P, softplus(u))
        # dL/du = (1 - P) σ(u) - P σ(-u)
        du = (1.0 - P) * sigmoid(u) - P * sigmoid(-u)
    else:
        losses = P * (u - aim) ** 2 / 2.0 + (1.0 - P) * (u + other) ** 2 / 2.0
        # dL/du = P (u - T) + (1 - P) (u + T'), T and T' the targets of both orders
        du = P * (u - aim) + (1.0 - P) * (u + other)
    # du/ds = 1/τ
    ds = du / temperature
    d_chosen, d_rejected, d_scales = np.zeros((count, width)), np.zeros((count, width)), np.zeros_like(lam)
    for i in range(width // 2):
        x, y = 2 * i, 2 * i + 1
        # ds/dv_w = λ (v_l[y], -v_l[x]), ds/dv_l = λ (-v_w[y], v_w[x]), ds/dλ the area that v_w and v_l span
        d_chosen[:, x] = ds * lam[:, i] * rejected_embedding[:, y]
        d_chosen[:, y] = -ds * lam[:, i] * rejected_embedding[:, x]
        d_rejected[:, x] = -ds * lam[:, i] * chosen_embedding[:, y]
        d_rejected[:, y] = ds * lam[:, i] * chosen_embedding[:, x]
        area = chosen_embedding[:, x] * rejected_embedding[:, y] - chosen_embedding[:, y] * rejected_embedding[:, x]
        d_scales[:, i] = ds * area
    grads = {"chosen_embedding": d_chosen, "rejected_embedding": d_rejected}
    return losses, grads if scales is None else {**grads, "scales": d_scales}
