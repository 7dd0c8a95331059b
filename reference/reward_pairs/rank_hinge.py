"""The ranking loss of HPSv2: Wu et al. 2023, arXiv 2306.09341, as its code has it.

L = max(0, b - m d),  d = r_w - r_l, m the rank of y_l minus that of y_w (1), b = bound
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, relu_slope, times


@quiet
def rank_hinge(*, chosen: Array, rejected: Array, margin: Array | None = None, bound: float = 1.0) -> Result:
    """Losses (B,) from scores (B,), and the gradient of their sum."""
    m = np.ones(len(chosen)) if margin is None else np.asarray(margin, dtype=np.float64)
    short = bound - times(m, chosen - rejected)
    # dL/dd = -m [m d < b], and 0 at the kink
    slope = times(-m, relu_slope(short))
    return np.maximum(0.0, short), {"chosen": slope, "rejected": -slope}
