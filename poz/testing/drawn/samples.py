"""How `poz.Samples` are drawn."""

from __future__ import annotations

import numpy as np

from poz.families import Samples
from poz.objective import Objective
from poz.testing.drawn import draws_of
from poz.testing.drawn._numbers import log_probs


@draws_of(Samples)
def samples(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Samples:
    """Lists near an anchor and a reference."""
    shape = (size, int(rng.integers(2, 6)))
    logps = log_probs(rng, shape, widest)
    anchor, reference = (logps * np.exp(rng.normal(0, 0.2, shape)) for _ in range(2))
    return Samples(logps, anchor, reference, rng.uniform(0, 1, shape))
