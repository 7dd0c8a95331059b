"""f-DPO: Wang et al. 2023, arXiv 2309.16240; H is f' of the divergence at the ratio e^a, up to a constant.

a = log π(y_w) - log π_ref(y_w),  b = log π(y_l) - log π_ref(y_l),  L = -log σ(β (H(a) - H(b)))
reverse KL: H = a        forward KL: H = -E(-a)        JS: H = log σ(a)        E(x) = e^x up to LIMIT
alpha:      H = (1 - E(-A a)) / A,  A = α (paper) or 1 - α (TRL)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, tangent_exp_gap, tangent_exp_slope, times


@quiet
def f_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    divergence: str = "reverse_kl",
    alpha: float = 0.5,
    convention: str = "paper",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    a, b = chosen - ref_chosen, rejected - ref_rejected
    if divergence == "reverse_kl":
        # H' = 1
        gap, rise_a, rise_b = a - b, np.ones(a.shape), np.ones(b.shape)
    elif divergence == "js":
        # log σ(a) - log σ(b) = softplus(-b) - softplus(-a); H' = σ(-a)
        gap = np.log1p(np.exp(-np.abs(b))) - np.log1p(np.exp(-np.abs(a))) + (np.minimum(a, 0.0) - np.minimum(b, 0.0))
        rise_a, rise_b = sigmoid(-a), sigmoid(-b)
    else:
        # forward KL is A = 1; H' = E'(-A a)
        power = alpha if convention == "paper" else 1.0 - alpha
        power = 1.0 if divergence == "forward_kl" else power
        gap = tangent_exp_gap(-b, -a, power) / power
        rise_a, rise_b = tangent_exp_slope(-power * a), tangent_exp_slope(-power * b)
    # dL/dH(a) = -β σ(-β (H(a) - H(b))) = -dL/dH(b)
    slope = -beta * sigmoid(-beta * gap)
    up, down = times(slope, rise_a), -times(slope, rise_b)
    return softplus(-beta * gap), {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
