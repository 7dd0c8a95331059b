"""Diffusion-DPO: Wallace et al. 2023, arXiv 2311.12908, in the form of its code: mean squared denoising errors e.

u = -(β / 2) [(e_w - e_l) - (e_ref,w - e_ref,l)],  L = softplus(-u), and 0 unless first <= timestep < last
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus


@quiet
def diffusion_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    timestep: Array | None = None,
    beta: float = 5000.0,
    first: float | None = None,
    last: float | None = None,
) -> Result:
    """Losses (B,) in nats from denoising errors (B,), and the gradient of their sum."""
    u = -0.5 * beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    inside = np.ones(chosen.shape, dtype=bool)
    if timestep is not None and first is not None:
        inside &= timestep >= first
    if timestep is not None and last is not None:
        inside &= timestep < last
    # dL/du = -σ(-u), du/de_w = -β/2
    slope = np.where(inside, 0.5 * beta * sigmoid(-u), 0.0)
    losses = np.where(inside, softplus(-u), 0.0)
    return losses, {"chosen": slope, "rejected": -slope, "ref_chosen": -slope, "ref_rejected": slope}
