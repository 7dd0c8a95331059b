"""How `poz.Ranked` are drawn."""

from __future__ import annotations

import numpy as np

from poz.families import Ranked
from poz.objective import Objective
from poz.testing.drawn import draws_of
from poz.testing.drawn._numbers import log_probs


@draws_of(Ranked)
def ranked(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Ranked:
    """Lists with ties, of one and with empty completions."""
    shape = (size, int(rng.integers(2, 6)))
    logps = log_probs(rng, shape, widest)
    scores = -np.sort(-rng.normal(0, 2, shape), axis=-1)
    scores[0] = scores[0, 0]  # all equal
    if size > 1:
        scores[1, 1] = scores[1, 0]
    lengths = np.ceil(-logps / rng.uniform(0.5, 3, shape)).astype(np.int64)
    mask = rng.random(shape) < 0.75
    mask[:, 0] = True
    mask[2:3, 1:] = False  # a list of one
    for row in range(3, min(size, 5)):  # an empty completion, the best or the second
        logps[row, row - 3], lengths[row, row - 3] = 0.0, 0
    return Ranked(logps, logps * np.exp(rng.normal(0, 0.2, shape)), lengths, scores, mask)
