"""XPO: Xie et al. 2024, arXiv 2405.21046, DPO with an optimistic bonus on samples of the reference policy.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
L_i = -log σ(β h_i) + α mean_c log π(y_c),  y_c ~ π_ref
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def xpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    calibration: Array,
    beta: float = 0.1,
    alpha: float = 1e-5,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and calibration log-probs (C,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    weight = alpha / max(len(calibration), 1)
    losses = softplus(-z) + times(weight, np.asarray(np.sum(calibration)))
    # dL_i/dh_i = -β σ(-β h_i)
    slope = -beta * sigmoid(-z)
    # dΣL/dcalibration_c = B α / C, every pair carrying the same bonus
    bonus = np.full(len(calibration), len(chosen) * weight)
    grads = {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
    return losses, {**grads, "calibration": bonus}
