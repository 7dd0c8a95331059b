"""A share of all labels is flipped, of whatever pair."""

from __future__ import annotations

import numpy as np

from poz.worlds._world import Said, Truth, World, bradley_terry, of_scores, swapped, utilities
from poz.worlds.language import Floats


def _world(share: float) -> World:
    def judges(r: Floats) -> Floats:
        return np.asarray(share + (1 - 2 * share) * bradley_terry(r))

    def answers(rng: np.random.Generator, r: Floats, places: Floats, truth: Truth) -> Said:
        return of_scores(swapped(utilities(rng, r), rng.random((len(r), 2)) < share))

    says = f"{share:.0%} of the labels are flipped: the scores of the two sentences of a pair change places."
    return World(f"flips_{100 * share:.0f}", says, ("noisy-labels",), judges, answers)


flips_10, flips_30 = _world(0.1), _world(0.3)
