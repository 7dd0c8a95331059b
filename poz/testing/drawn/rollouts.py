"""How `poz.Rollouts` are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from poz.families import Rollouts
from poz.objective import Objective
from poz.testing.drawn import draws_of
from poz.testing.drawn._numbers import log_probs, with_zeros


@draws_of(Rollouts)
def rollouts(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Rollouts:
    """Completions of different lengths, one empty and one that moved far, near the policies that wrote and hold them."""
    shape = (size, int(rng.integers(1, 9)))
    fields: dict[str, Any] = {"logps": log_probs(rng, shape, widest / shape[1])}
    for name in ("old_logps", "ref_logps", "sampler_logps"):
        fields[name] = fields["logps"] * np.exp(rng.normal(0, 0.1, shape))
    fields["mask"] = rng.random(shape) < 0.7
    fields["mask"][0] = False  # an empty completion
    if size > 1:
        fields["old_logps"][1] = log_probs(rng, shape[1:], widest / shape[1])
    if size > 2:
        for name in ("old_logps", "sampler_logps"):  # on-policy, exactly
            fields[name][2] = fields["logps"][2]
    fields["entropy"] = np.exp(rng.uniform(-5, 1.5, shape))
    fields["advantages"] = with_zeros(rng.normal(0, 1, size))
    fields["token_advantages"] = with_zeros(rng.normal(0, 1, shape))
    fields["noise"] = rng.random(shape)
    fields["groups"] = rng.integers(0, 1 + size // 3, size)
    return Rollouts(**fields)
