"""VPL (variational preference learning): Poddar et al. 2024, arXiv 2408.10075; rewards are those given a latent z ~ N(μ, σ²).

d = r(y_w, z) - r(y_l, z),  P is the label,  v = log σ²;  with a clamp C, μ and v are put into [-C, C] first
L = P softplus(-d) + (1 - P) softplus(d) + w KL,  KL = ½ Σ_j (e^v_j + μ_j² - 1 - v_j), or without the ½
From v = 60 on, e^v goes on along its tangent.
"""

import numpy as np

from poz.reference._stable import LIMIT, Array, Result, quiet, sigmoid, softplus, times


@quiet
def vpl(
    *,
    chosen: Array,
    rejected: Array,
    latent_mean: Array,
    latent_log_variance: Array,
    label: Array | None = None,
    kl_weight: Array | float = 0.01,
    half: bool = True,
    clamp: float | None = None,
) -> Result:
    """Losses (B,) in nats from rewards (B,) and posteriors (B, latent), and the gradient of their sum."""
    d = chosen - rejected
    P = np.ones(len(d)) if label is None else label
    bound = np.inf if clamp is None else clamp
    factor = 0.5 if half else 1.0
    losses = times(P, softplus(-d)) + times(1.0 - P, softplus(d))
    d_mean, d_log_variance = np.zeros_like(latent_mean), np.zeros_like(latent_log_variance)
    for j in range(latent_mean.shape[1]):
        mu = np.clip(latent_mean[:, j], -bound, bound)
        v = np.clip(latent_log_variance[:, j], -bound, bound)
        low, beyond = np.minimum(v, LIMIT), np.maximum(v - LIMIT, 0.0)
        losses = losses + times(kl_weight * factor, (np.expm1(low) - low) + np.expm1(LIMIT) * beyond + mu**2)
        # dKL/dμ = 2 factor μ, dKL/dv = factor (e^v - 1); 0 from the clamp on
        d_mean[:, j] = times(kl_weight * 2.0 * factor, mu) * (np.abs(latent_mean[:, j]) < bound)
        d_log_variance[:, j] = kl_weight * factor * np.expm1(low) * (np.abs(latent_log_variance[:, j]) < bound)
    # dL/dd = (1 - P) σ(d) - P σ(-d)
    slope = (1.0 - P) * sigmoid(d) - P * sigmoid(-d)
    return losses, {
        "chosen": slope,
        "rejected": -slope,
        "latent_mean": d_mean,
        "latent_log_variance": d_log_variance,
    }
