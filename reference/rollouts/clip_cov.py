"""Clip-Cov: Cui et al. 2025, arXiv 2505.22617, as in the authors' code.

x = -min(r A, clip(r, 1 - ε_l, 1 + ε_h) A), r = e^d; 0 at the max(1, ⌊ρ n⌋) tokens of smallest noise, n those of the batch, among
those with ω_l < (A - mean A)(l - mean l) < ω_h where -clip(r) A > -r A does not hold
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, clipped, member


@member(aggregation="token_mean", weighs=True)
def clip_cov(
    one: One,
    *,
    epsilon_low: float = 1.0,
    epsilon_high: float = 1.0,
    share: float = 0.0002,
    band_low: float = 1.0,
    band_high: float = 5.0,
) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    worth, logps, d, noise = (
        np.concatenate([getattr(other, name) for other in one.batch]) for name in ("a", "l", "d", "noise")
    )
    mean_worth, mean_logps = worth.mean(), logps.mean()
    band = []
    for t in range(len(worth)):
        if (worth[t] > 0 and d[t] > np.log1p(epsilon_high)) or (worth[t] < 0 and d[t] < np.log1p(-epsilon_low)):
            continue
        if band_low < (worth[t] - mean_worth) * (logps[t] - mean_logps) < band_high:
            band.append((noise[t], t))
    gone = {t for _, t in sorted(band)[: max(1, int(share * len(worth)))]}
    first = sum(len(other.l) for other in one.batch[: next(i for i, o in enumerate(one.batch) if o is one)])
    kept = np.array([first + t not in gone for t in range(len(one.l))])
    # dx/dl = -A R'(d) where it is kept; which tokens are is unknown where a mean is
    ratio, slope = clipped(one, one.d, epsilon_low, epsilon_high)
    unknown = np.nan if np.isnan(mean_worth) or np.isnan(mean_logps) else 0.0
    return np.where(kept | np.isnan(ratio), -one.a * ratio, 0.0) + unknown, np.diag(np.where(kept, -one.a * slope, 0.0))
