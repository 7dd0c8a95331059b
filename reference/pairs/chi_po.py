"""χPO: Huang et al. 2024, arXiv 2407.13399, DPO with the link φ(u) = u + log u of the mixed χ² divergence.

a = log π(y_w) - log π_ref(y_w),  b = log π(y_l) - log π_ref(y_l),  φ(e^a) = E(a) + a,  E(a) = e^a up to LIMIT
v = β (φ(e^a) - φ(e^b)), limited to [-clip, clip] (clip = 2 R_max);  L = -log σ(v)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, tangent_exp_gap, tangent_exp_slope, times


@quiet
def chi_po(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    clip: float | None = None,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    a, b = chosen - ref_chosen, rejected - ref_rejected
    full = beta * (tangent_exp_gap(a, b) + (a - b))
    v = full if clip is None else np.clip(full, -clip, clip)
    # dL/dv = -σ(-v), 0 where v is limited; dφ/da = 1 + E'(a)
    limited = clip is not None and np.abs(full) >= clip
    slope = np.where(limited, 0.0, -beta * sigmoid(-v))
    up, down = times(slope, 1.0 + tangent_exp_slope(a)), -times(slope, 1.0 + tangent_exp_slope(b))
    return softplus(-v), {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
