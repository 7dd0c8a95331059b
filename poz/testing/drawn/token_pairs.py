"""How `poz.TokenPairs` are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from poz.families import TokenPairs
from poz.objective import Objective
from poz.testing.drawn import draws_of
from poz.testing.drawn._numbers import log_probs, with_zeros


@draws_of(TokenPairs)
def token_pairs(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> TokenPairs:
    """Segments of different lengths, an empty completion among them."""
    fields: dict[str, Any] = {"label": rng.choice([0.0, 0.25, 0.5, 1.0], size)}
    for side in ("chosen", "rejected"):
        shape = (size, int(rng.integers(1, 9)))
        fields[side] = log_probs(rng, shape, widest / shape[1])
        fields[f"ref_{side}"] = fields[side] * np.exp(rng.normal(0, 0.2, shape))
        fields[f"{side}_mask"] = rng.random(shape) < 0.7
        fields[f"{side}_mask"][0] = False  # an empty completion
        fields[f"{side}_changed"] = rng.random(shape) < 0.5
        fields[f"{side}_weights"] = with_zeros(rng.uniform(0, 2, shape))
        fields[f"{side}_kl"] = np.exp(rng.uniform(-5, 1, shape))
        fields[f"{side}_collision"] = -np.exp(rng.uniform(-5, 1.5, shape))
    return TokenPairs(**fields)
