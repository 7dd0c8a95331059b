"""DPO^γ (weighted reference): Chen et al. 2024, arXiv 2405.19534, the sensitivity study.

u = β [(log π(y_w) - log π(y_l)) - γ (log π_ref(y_w) - log π_ref(y_l))]
L = -log σ(u)
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def dpo_gamma(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    gamma: float = 1.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    u = beta * ((chosen - rejected) - times(gamma, ref_chosen - ref_rejected))
    # dL/du = -σ(-u); the reference enters with -γ
    slope = -beta * sigmoid(-u)
    weighted = gamma * slope
    return softplus(-u), {"chosen": slope, "rejected": -slope, "ref_chosen": -weighted, "ref_rejected": weighted}
