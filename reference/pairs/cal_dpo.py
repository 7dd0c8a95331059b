"""Cal-DPO: Xiao et al. 2024, arXiv 2412.14516; c = 1/2 as in the authors' code.

a = log π(y_w) - log π_ref(y_w),  b = log π(y_l) - log π_ref(y_l)
L = -log σ(a - b) + c [(a - 1/(2 β))² + (b + 1/(2 β))²]
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def cal_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.002,
    calibration_weight: float = 0.5,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    over, under = chosen - ref_chosen - 0.5 / beta, rejected - ref_rejected + 0.5 / beta
    losses = softplus(-h) + times(calibration_weight, over * over + under * under)
    # dL/da = -σ(-(a - b)) + 2 c (a - 1/(2β)), dL/db = σ(-(a - b)) + 2 c (b + 1/(2β))
    up = 2.0 * times(calibration_weight, over) - sigmoid(-h)
    down = 2.0 * times(calibration_weight, under) + sigmoid(-h)
    return losses, {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
