"""How `poz.RewardPairs` are drawn."""

from __future__ import annotations

import numpy as np

from poz.families import RewardPairs
from poz.objective import Objective
from poz.testing.drawn import draws_of
from poz.testing.drawn._numbers import Floats, log_probs, with_zeros


@draws_of(RewardPairs)
def reward_pairs(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> RewardPairs:
    """Scores of both signs, equal and 0 among them; margins of both signs; all ties at times; embeddings of few widths."""

    def scores() -> Floats:
        return rng.choice([-1.0, 1.0], size) * log_probs(rng, (size,), widest)

    chosen, rejected = scores(), scores()
    near = rng.random(size) < 0.5
    rejected = np.where(near, chosen + rng.normal(0, 2, size), rejected)
    if size > 1:
        rejected[0] = chosen[0]
        rejected[1] = 0.0
    if size > 2:
        chosen[2] = 0.0
    width, latent, factors = 2 * int(rng.integers(1, 4)), int(rng.integers(1, 5)), int(rng.integers(1, 4))
    embeddings = rng.normal(0, 1, (4, size, width))
    return RewardPairs(
        chosen,
        rejected,
        rng.choice([0.0, 0.25, 0.5, 1.0], size),
        with_zeros(rng.normal(0, 2, size)),
        np.full(size, True) if rng.random() < 0.1 else rng.random(size) < 0.4,
        with_zeros(rng.normal(0.5, 1, size)),
        chosen_embedding=embeddings[0],
        rejected_embedding=embeddings[1],
        chosen_view=embeddings[2],
        rejected_view=embeddings[3],
        scales=with_zeros(rng.uniform(0, 2, (size, width // 2))),
        latent_mean=rng.normal(0, 1, (size, latent)),
        latent_log_variance=rng.normal(0, 1, (size, latent)),
        chosen_factors=rng.integers(-2, 3, (size, factors)) / 2,
        rejected_factors=rng.integers(-2, 3, (size, factors)) / 2,
        auxiliary=-log_probs(rng, (size,), widest),
    )
