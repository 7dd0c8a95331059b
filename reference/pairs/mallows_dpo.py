"""Mallows-DPO: Chen et al. 2024, arXiv 2405.14953, DPO scaled by the dispersion of the prompt.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
φ = -κ log H̄, H̄ the normalised entropy of the reference;  z = β φ h
logistic: L = -log σ(z)      cauchy: L = -log(1/2 + arctan(z)/π), the authors' other link
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


def loss_and_slope(link: str, z: Array) -> tuple[Array, Array]:
    """f(z) and f'(z), L = f(z)."""
    if link == "cauchy":
        # arctan(z) + π/2 and π/2 - arctan(z), each about 1/|z| at its own end, where the difference would cancel
        above, below = np.arctan2(1.0, -z), np.arctan2(1.0, z)
        losses = np.where(z < 0.0, -np.log(above / np.pi), -np.log1p(-below / np.pi))
        # f' = -1 / ((1 + z²) (arctan(z) + π/2)), about -1/|z| for z -> -inf and so 0 at the end
        root = np.hypot(1.0, z)
        return losses, np.where(z == -np.inf, 0.0, -1.0 / root / (root * above))
    # f' = -σ(-z)
    return softplus(-z), -sigmoid(-z)


@quiet
def mallows_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    entropy: Array,
    beta: float = 0.1,
    kappa: float = 0.29,
    link: str = "logistic",
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    h = (chosen - rejected) - (ref_chosen - ref_rejected)
    scale = beta * -kappa * np.log(entropy)
    losses, fall = loss_and_slope(link, scale * h)
    # dL/dh = β φ f'(z)
    slope = scale * fall
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
