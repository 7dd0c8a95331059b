"""Reward-aware preference optimization (RPO): arXiv 2406.11704; Sun et al. 2025, 2502.00203; three distances.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l)),  z = β h,  g = η (r*_w - r*_l)
squared:      L = (z - g)²
backward KL:  L = KL(σ(g) || σ(z))
forward KL:   L = KL(σ(z) || σ(g))
"""

from poz.reference._stable import Array, Result, bernoulli_kl, quiet, sigmoid, sigmoid_gap, times


@quiet
def reward_aware_po(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    margin: Array,
    beta: float = 0.1,
    eta: float = 1.0,
    distance: str = "squared",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    z = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    g = eta * margin
    if distance == "squared":
        losses = (z - g) * (z - g)
        # dL/dz = 2 (z - g)
        slope = 2.0 * beta * (z - g)
    elif distance == "backward_kl":
        losses = bernoulli_kl(g, z)
        # dL/dz = σ(z) - σ(g)
        slope = beta * sigmoid_gap(z, g)
    else:
        losses = bernoulli_kl(z, g)
        # dL/dz = σ(z) σ(-z) (z - g)
        slope = beta * times(sigmoid(z) * sigmoid(-z), z - g)
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
