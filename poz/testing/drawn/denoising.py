"""How `poz.Denoising` are drawn."""

from __future__ import annotations

import numpy as np

from poz.families import Denoising
from poz.objective import Objective
from poz.testing.drawn import draws_of
from poz.testing.drawn._numbers import log_probs


@draws_of(Denoising)
def denoising(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Denoising:
    """Errors near those of the reference."""
    chosen, rejected = (-log_probs(rng, (size,), min(widest, 30.0)) for _ in range(2))
    ref_chosen, ref_rejected = (error * np.exp(rng.normal(0, 0.1, size)) for error in (chosen, rejected))
    return Denoising(chosen, rejected, ref_chosen, ref_rejected, rng.integers(0, 1000, size))
