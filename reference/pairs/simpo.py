"""SimPO: Meng, Xia, Chen 2024, arXiv 2405.14734, eq. 6; hinge link and label smoothing as in the authors' trainer.

Δ = log π(y_w) / |y_w| - log π(y_l) / |y_l|,  z = β Δ - γ,  z' = -β Δ - γ (the pair exchanged)
logistic, "trl":   L = -(1 - ε) log σ(z) - ε log σ(-z) = softplus(-z) + ε z
logistic, "swap":  L = -(1 - ε) log σ(z) - ε log σ(z')
hinge:             L = max(0, 1 - z)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times, tokens


@quiet
def simpo(
    *,
    chosen: Array,
    rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    beta: float = 2.0,
    gamma: float | None = None,
    gamma_beta_ratio: float | None = None,
    label_smoothing: float = 0.0,
    smoothing: str = "trl",
    link: str = "logistic",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and lengths (B,), and the gradient of their sum."""
    if gamma is None:
        gamma = beta * (0.25 if gamma_beta_ratio is None else gamma_beta_ratio)
    n_chosen, n_rejected = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    reward = beta * (chosen / n_chosen - rejected / n_rejected)
    z, mirrored = reward - gamma, -reward - gamma
    if link == "hinge":
        losses = np.maximum(0.0, 1.0 - z)
        # dL/d(βΔ) = -1 where z < 1, and 0 at the kink
        slope = -np.heaviside(1.0 - z, 0.0)
    elif smoothing == "swap":
        losses = times(1.0 - label_smoothing, softplus(-z)) + times(label_smoothing, softplus(-mirrored))
        # dL/d(βΔ) = ε σ(-z') - (1 - ε) σ(-z)
        slope = label_smoothing * sigmoid(-mirrored) - (1.0 - label_smoothing) * sigmoid(-z)
    else:
        losses = times(1.0 - label_smoothing, softplus(-z)) + times(label_smoothing, softplus(z))
        # dL/d(βΔ) = σ(z) - (1 - ε) = ε - σ(-z)
        slope = label_smoothing - sigmoid(-z)
    return losses, {"chosen": beta * slope / n_chosen, "rejected": -beta * slope / n_rejected}
