"""VESPO: arXiv 2602.10693, second hand.

x = -sg[φ(w)] A l, φ = w^k e^(λ (1 - w)), w = exp(Σ d) times the weights that correct the sampler
k, λ = k+, λ+ where A >= 0, else k-, λ-
"""

import numpy as np

from poz.reference._stable import Array, tangent_exp, times
from poz.reference.rollouts._completions import One, member


@member(aggregation="token_mean", weighs=True)
def vespo(
    one: One,
    *,
    k_positive: float = 2.0,
    lambda_positive: float = 3.0,
    k_negative: float = 3.0,
    lambda_negative: float = 2.0,
) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    good = one.a >= 0
    k, rate = np.where(good, k_positive, k_negative), np.where(good, lambda_positive, lambda_negative)
    log_w = np.full(k.shape, np.sum(one.d) + one.whole)
    # dx/dl = -φ A
    fades = times(rate, tangent_exp(log_w))
    phi = tangent_exp(rate + times(k, np.where(fades == np.inf, 0.0, log_w)) - fades)
    return -phi * one.a * one.l, np.diag(-phi * one.a)
