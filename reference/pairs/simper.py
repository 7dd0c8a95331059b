"""SimPER: Xiao et al. 2025, arXiv 2502.00883, a difference of inverse perplexities.

p = log π(y) / |y|,  E(x) = e^x up to LIMIT
L = E(p_l) - E(p_w)
"""

from poz.reference._stable import Array, Result, quiet, tangent_exp_gap, tangent_exp_slope, tokens


@quiet
def simper(
    *,
    chosen: Array,
    rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
) -> Result:
    """Losses (B,) from summed log-probs (B,) and lengths (B,), and the gradient of their sum."""
    n_chosen, n_rejected = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    p_w, p_l = chosen / n_chosen, rejected / n_rejected
    # dL/dp_w = -E'(p_w), dL/dp_l = E'(p_l)
    up, down = -tangent_exp_slope(p_w), tangent_exp_slope(p_l)
    return tangent_exp_gap(p_l, p_w), {"chosen": up / n_chosen, "rejected": down / n_rejected}
