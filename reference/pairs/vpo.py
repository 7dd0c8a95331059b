"""VPO: Cen et al. 2024, arXiv 2405.19320, the policy form of the value-regularised Bradley-Terry likelihood.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
L_i = -log σ(β h_i) + sign α β mean_c [log π(y_c) - log π_ref(y_c)],  y_c ~ π_cal
sign is +1 online (optimism) and -1 offline (pessimism)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def vpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    calibration: Array,
    ref_calibration: Array,
    beta: float = 0.1,
    alpha: float = 1e-3,
    sign: int = 1,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and calibration log-probs (C,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    weight = sign * alpha * beta / max(len(calibration), 1)
    losses = softplus(-z) + times(weight, np.asarray(np.sum(calibration - ref_calibration)))
    # dL_i/dh_i = -β σ(-β h_i)
    slope = -beta * sigmoid(-z)
    # dΣL/dcalibration_c = B sign α β / C, every pair carrying the same bonus
    bonus = np.full(len(calibration), len(chosen) * weight)
    grads = {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
    return losses, {**grads, "calibration": bonus, "ref_calibration": -bonus}
