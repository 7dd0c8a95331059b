"""How `poz.Unpaired` are drawn."""

from __future__ import annotations

import numpy as np

from poz.families import Unpaired
from poz.objective import Objective
from poz.testing.drawn import draws_of
from poz.testing.drawn._numbers import calibration, log_probs, with_zeros


@draws_of(Unpaired)
def unpaired(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Unpaired:
    """Completions near the reference and far from it, an empty one among them."""
    logps = log_probs(rng, (size,), widest)
    near = np.exp(rng.normal(0, 0.1, size))
    drawn = calibration(rng, min(widest, 100.0))
    reference = np.where(rng.random(size) < 0.4, log_probs(rng, (size,), widest), logps * near)
    lengths = np.ceil(-logps / rng.uniform(0.5, 3, size)).astype(np.int64)
    if size > 2:
        logps[2], reference[2], lengths[2] = 0.0, 0.0, 0  # an empty completion
    return Unpaired(
        logps,
        reference,
        rng.random(size) < 0.5,
        lengths,
        with_zeros(rng.uniform(0, 2, size)),
        rng.exponential(0.5, size),
        drawn["calibration"],
        drawn["ref_calibration"],
    )
