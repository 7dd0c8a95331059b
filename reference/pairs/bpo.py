"""BPO (balanced): Sun et al. 2025, arXiv 2506.03557; only the weaker of the two sides is moved.

a = log π(y_w) - log π_ref(y_w),  b = log π(y_l) - log π_ref(y_l)
m = min(a, -α b), whose slope a tie shares;  L = f(β m), f one of the links of GPO
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet
from poz.reference.pairs.gpo_link import loss_and_slope


@quiet
def bpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    alpha: float = 0.3,
    link: str = "logistic",
) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum."""
    a, b = chosen - ref_chosen, -alpha * (rejected - ref_rejected)
    losses, fall = loss_and_slope(link, beta * np.minimum(a, b))
    # dL/da = β f'(β m) [a < -α b], dL/db = -α β f'(β m) [a > -α b]; of a tie, half of each
    share = np.where(a < b, 1.0, np.where(a == b, 0.5, 0.0))
    up, down = share * beta * fall, -(1.0 - share) * alpha * beta * fall
    return losses, {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
