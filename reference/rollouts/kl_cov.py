"""KL-Cov: Cui et al. 2025, arXiv 2505.22617, as in the authors' code.

x = -r A + κ |d| at the max(1, ⌊ρ n⌋) of the n tokens of the batch with the largest (A - mean A)(l - mean l), r = e^d
"""

import numpy as np

from poz.reference._stable import Array, tangent_exp, tangent_exp_slope, times
from poz.reference.rollouts._completions import One, member, weighted


@member(aggregation="token_mean", weighs=True)
def kl_cov(one: One, *, share: float = 0.002, kl_strength: float = 1.0) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    worth, logps = (np.concatenate([getattr(other, name) for other in one.batch]) for name in ("a", "l"))
    covariance = (worth - worth.mean()) * (logps - logps.mean())
    order = np.argsort(-covariance, kind="stable")
    chosen = np.isin(np.arange(len(order)), order[: max(1, int(share * len(order)))])
    first = sum(len(other.l) for other in one.batch[: next(i for i, o in enumerate(one.batch) if o is one)])
    held = chosen[first : first + len(one.l)]
    unknown = 0 * (worth.mean() + logps.mean())  # which ones are held, where that is not finite
    # dx/dl = -A w r + κ w sign(d) where it is held
    d, strength = weighted(one, one.d), np.where(held, kl_strength, 0.0) * tangent_exp(one.w)
    slope = -one.a * tangent_exp_slope(d) + strength * np.sign(one.d)
    return -one.a * tangent_exp(d) + times(strength, np.abs(one.d)) + unknown, np.diag(slope)
