"""KTO: Ethayarajh et al. 2024, arXiv 2402.01306, a value function of the log-ratio against a reference point.

a = log π(y) - log π_ref(y);  K = max(0, estimate of KL(π || π_ref)), a constant
desirable: w λ_D (1 - σ(β (a - K)));  undesirable: w λ_U (1 - σ(β (K - a)))
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid


@quiet
def kto(
    *,
    logps: Array,
    ref_logps: Array,
    desirable: Mask,
    kl: Array | None = None,
    kl_logps: Array | None = None,
    kl_ref_logps: Array | None = None,
    weights: Array | None = None,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    estimator: str = "mean",
) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum; none reaches the samples of the KL."""
    samples = np.zeros(0) if kl_logps is None or kl_ref_logps is None else kl_logps - kl_ref_logps
    point: Array = np.zeros(len(logps))
    if estimator == "given" and kl is not None:
        point = np.maximum(kl, 0.0)
    elif estimator != "zero":
        count = len(samples) if estimator == "mean" else np.count_nonzero(samples)
        point = np.full(len(logps), np.maximum(np.sum(samples), 0.0) / max(count, 1))
    side = np.where(desirable, 1.0, -1.0)
    price = np.where(desirable, desirable_weight, undesirable_weight) * (1.0 if weights is None else weights)
    # 1 - σ(x) = σ(-x) with x = ±β (a - K); dσ(-x)/da = -(±β) σ(x) σ(-x)
    x = side * beta * ((logps - ref_logps) - point)
    slope = -price * side * beta * sigmoid(x) * sigmoid(-x)
    gradients = {"logps": slope, "ref_logps": -slope}
    if kl_logps is not None and kl_ref_logps is not None:
        gradients |= {"kl_logps": np.zeros_like(kl_logps), "kl_ref_logps": np.zeros_like(kl_ref_logps)}
    return price * sigmoid(-x), gradients
