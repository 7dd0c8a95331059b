"""RainbowPO: Zhao et al. 2024, arXiv 2410.04203, lengths, a mixed reference and a scale by prompt dispersion.

p = log π(y) / |y|, r = log π_ref(y) / |y|,  φ = -κ log H̄ (H̄ the normalised entropy of the reference), or 1
u = β φ [(p_w - p_l) - α (r_w - r_l) - (1 - α) h],  L = -log σ(u)
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times, tokens


@quiet
def rainbow_po(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    entropy: Array | None = None,
    beta: float = 10.0,
    alpha: float = 0.25,
    h: float = 0.1,
    kappa: float | None = None,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and lengths (B,), and the gradient of their sum."""
    n_chosen, n_rejected = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    scale = np.full(len(chosen), beta)
    if kappa is not None and entropy is not None:
        scale = beta * -kappa * np.log(entropy)
    reference = ref_chosen / n_chosen - ref_rejected / n_rejected
    u = scale * (chosen / n_chosen - rejected / n_rejected - times(alpha, reference) - (1.0 - alpha) * h)
    # dL/du = -σ(-u); du/dp_w = β φ = -du/dp_l, du/dr_w = -α β φ = -du/dr_l
    up, down = -scale * sigmoid(-u) / n_chosen, scale * sigmoid(-u) / n_rejected
    return softplus(-u), {"chosen": up, "rejected": down, "ref_chosen": -alpha * up, "ref_rejected": -alpha * down}
