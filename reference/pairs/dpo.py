"""DPO: Rafailov et al. 2023, arXiv 2305.18290, eq. 7; ε is the label smoothing of cDPO (Mitchell 2023).

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  z = β h
L = -(1 - ε) log σ(z) - ε log σ(-z) = softplus(-z) + ε z
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    losses = times(1.0 - label_smoothing, softplus(-z)) + times(label_smoothing, softplus(z))
    # dL/dh = β (σ(z) - (1 - ε)) = β (ε - σ(-z))
    slope = beta * (label_smoothing - sigmoid(-z))
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
