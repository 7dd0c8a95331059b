"""MODPO: Zhou et al. 2023, arXiv 2310.03708; the known rewards of the other objectives have weight 1 - w.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
u = (β h - (1 - w) (R_w - R_l)) / w,  L = -log σ(u)
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


@quiet
def modpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    margin: Array,
    beta: float = 0.1,
    weight: float = 0.5,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    u = (z - times(1.0 - weight, margin)) / weight
    # dL/dh = -(β/w) σ(-u)
    slope = -beta / weight * sigmoid(-u)
    return softplus(-u), {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
