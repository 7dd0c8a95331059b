"""MaPO: Hong et al. 2024, arXiv 2406.06424, in the form of its code: mean squared denoising errors m, no reference.

f(m) = c m / (e^(c m) - 1), f(0) = 1;  u = T (f(m_w) - f(m_l));  L = m_w + λ softplus(-u)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


def _bernoulli(x: Array) -> tuple[Array, Array]:
    """g(x) = x / (e^x - 1) and g'(x) = (e^x - 1 - x e^x) / (e^x - 1)², by decaying exponentials, near 0 by series."""
    x = np.minimum(x, 800.0)  # both are 0 from there on
    decay, size = np.exp(-np.abs(x)), np.abs(x)
    away = np.where(x == 0.0, 1.0, -np.expm1(-size))
    value = np.where(x == 0.0, 1.0, size * np.where(x > 0.0, decay, 1.0) / away)
    # multiply by e^-2x above 0:  e^-x (1 - e^-x - x) / (1 - e^-x)²;  below, with x = -s:  (s e^-s - (1 - e^-s)) / ...²
    slope = np.where(x > 0.0, decay * (away - size), size * decay - away) / away**2
    series = -1 / 2 + x / 6 - x**3 / 180 + x**5 / 5040 - x**7 / 151200 + x**9 / 4790016
    return value, np.where(size < 0.25, series, slope)


@quiet
def mapo(
    *, chosen: Array, rejected: Array, ratio_weight: float = 0.1, snr: float = 0.5, timesteps: float = 1000.0
) -> Result:
    """Losses (B,) from denoising errors (B,), and the gradient of their sum."""
    (f_w, df_w), (f_l, df_l) = _bernoulli(snr * chosen), _bernoulli(snr * rejected)
    u = timesteps * (f_w - f_l)
    losses = chosen + times(ratio_weight, softplus(-u))
    # dL/du = -λ σ(-u), du/dm_w = T c g'(c m_w), du/dm_l = -T c g'(c m_l)
    slope = -ratio_weight * sigmoid(-u) * timesteps * snr
    return losses, {"chosen": 1.0 + slope * df_w, "rejected": -slope * df_l}
