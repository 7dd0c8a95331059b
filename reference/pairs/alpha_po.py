"""AlphaPO: Gupta et al. 2025, arXiv 2501.03884, SimPO with a reward of shape α.

p = log π(y) / |y|,  R(p) = (1 - E(-α p)) / α,  R(p) = p for α = 0,  E(x) = e^x up to LIMIT
u = β (R(p_w) - R(p_l)) - γ,  L = -log σ(u)
"""

from poz.reference._stable import (
    Array,
    Result,
    quiet,
    sigmoid,
    softplus,
    tangent_exp_gap,
    tangent_exp_slope,
    times,
    tokens,
)


@quiet
def alpha_po(
    *,
    chosen: Array,
    rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    beta: float = 2.5,
    alpha: float = 0.25,
    gamma: float = 0.1,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and lengths (B,), and the gradient of their sum."""
    n_chosen, n_rejected = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    p_w, p_l = chosen / n_chosen, rejected / n_rejected
    # R(p_w) - R(p_l) = (E(-α p_l) - E(-α p_w)) / α
    sign = -1.0 if alpha < 0.0 else 1.0
    gap = p_w - p_l if alpha == 0.0 else tangent_exp_gap(-sign * p_l, -sign * p_w, sign * alpha) / alpha
    u = beta * gap - gamma
    # dL/du = -σ(-u); dR/dp = E'(-α p); dp/dlog π = 1/|y|
    slope = -beta * sigmoid(-u)
    up = times(slope, tangent_exp_slope(times(-alpha, p_w)))
    down = -times(slope, tangent_exp_slope(times(-alpha, p_l)))
    return softplus(-u), {"chosen": up / n_chosen, "rejected": down / n_rejected}
