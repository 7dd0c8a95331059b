"""AlphaDPO: arXiv 2410.10148, SimPO with a target margin for each pair.

Δ = log π(y_w) / |y_w| - log π(y_l) / |y_l|,  Δ_ref the same of π_ref,  G = Δ - Δ_ref
M, S = `mean_gap` and `gap_std`, or the mean and the unbiased standard deviation of G over the batch where they are None
t = γ/β + α (G - M) / S, constant in the gradient; γ/β where all G are equal and S is theirs (0)
L = -log σ(β (Δ - t))
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times, tokens


@quiet
def alpha_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    beta: float = 10.0,
    gamma_beta_ratio: float = 0.4,
    alpha: float = 0.1,
    mean_gap: float | None = None,
    gap_std: float | None = None,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and lengths (B,), and the gradient of their sum with t constant."""
    n, k = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    ahead = chosen / n - rejected / k
    gap = ahead - (ref_chosen / n - ref_rejected / k)
    mean = np.sum(gap) / max(len(gap), 1)
    removed = alpha == 0.0 and not np.any(np.isnan(gap))  # 0 (G - M) / S is 0
    if removed or (gap_std is None and np.all(gap == gap[:1])):  # the rounding of the mean of equal gaps is no spread
        unusual = np.zeros(len(gap))
    else:
        spread = np.sqrt(np.sum((gap - mean) ** 2) / max(len(gap) - 1, 1)) if gap_std is None else gap_std
        unusual = (gap - (mean if mean_gap is None else mean_gap)) / spread
    z = beta * (ahead - (gamma_beta_ratio + times(alpha, unusual)))
    # dL/dΔ = -β σ(-z),  dΔ = dlog π(y_w) / |y_w| - dlog π(y_l) / |y_l|;  the reference is in t alone
    slope = -beta * sigmoid(-z)
    grads = {"chosen": slope / n, "rejected": -slope / k}
    return softplus(-z), grads | {"ref_chosen": np.zeros(len(gap)), "ref_rejected": np.zeros(len(gap))}
