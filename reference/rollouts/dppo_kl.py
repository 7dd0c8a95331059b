"""DPPO, binary KL: Qi et al. 2026, arXiv 2602.04879, as in the authors' code.

x = -sg[m min(r, c)] A l, r = e^d; m = 0 where K > δ_h and p > p_old for A > 0, where K > δ_l and p < p_old else, and 1 elsewhere
K = p_old log(p_old / p) + (1 - p_old) log((1 - p_old) / (1 - p)) = KL(Bernoulli(p_old) || Bernoulli(p))
"""

import numpy as np

from poz.reference._stable import Array
from poz.reference.rollouts._completions import One, member


@member(aggregation="token_mean")
def dppo_kl(
    one: One, *, divergence_low: float = 0.05, divergence_high: float = 0.05, ratio_cap: float = 20.0
) -> tuple[Array, Array]:
    """Losses (B,) in nats from per-token log-probs (B, T), and the gradient of their sum; here of one completion."""
    weight = np.exp(np.minimum(one.d, np.log(ratio_cap)))
    for t, (old, new, d, a) in enumerate(zip(one.o, one.l, one.d, one.a, strict=True)):
        far = bernoulli(old, new)
        if (far > divergence_high and d > 0) if a > 0 else (far > divergence_low and d < 0):
            weight[t] = 0.0
    # dx/dl = -m min(r, c) A, and e^(l - o) l is 0 where l is -∞
    return np.where(weight == 0, 0.0, -weight * one.a * one.l), np.diag(-weight * one.a)


def bernoulli(old: float, new: float) -> float:
    """KL in nats, from the logs of the probabilities; 0 log 0 = 0."""
    there = 0.0 if np.exp(old) == 0 else np.exp(old) * (old - new)
    if np.exp(old) == 1:
        return there
    return np.inf if new >= 0 else there + (1 - np.exp(old)) * (np.log1p(-np.exp(old)) - np.log1p(-np.exp(new)))
