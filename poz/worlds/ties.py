"""Annotators see no difference where there is little of it."""

from __future__ import annotations

import numpy as np

from poz.worlds._world import FIELDS, Said, Truth, World, of_scores, sigmoid, utilities
from poz.worlds.language import Floats

LEAST = 1.5
"""What two utilities differ by, at least, for one to be preferred: Rao and Kupper's model of ties."""


def _judges(r: Floats) -> Floats:
    gap = r[..., :, None] - r[..., None, :]
    return np.asarray(0.5 + 0.5 * (sigmoid(gap - LEAST) - sigmoid(-gap - LEAST)))


def _answers(rng: np.random.Generator, r: Floats, places: Floats, truth: Truth) -> Said:
    pairs = utilities(rng, r).reshape(-1, 2, 2)
    tied = np.abs(pairs[..., :1] - pairs[..., 1:]) < LEAST
    return of_scores(np.where(tied, pairs.mean(-1, keepdims=True), pairs).reshape(r.shape))


ties = World(
    "ties",
    "Two sentences of a pair whose utilities differ by less than 1.5 are a tie: label 1/2, equal scores. What reads no "
    "label is given them in any order.",
    ("ties", "noisy-labels"),
    _judges,
    _answers,
    FIELDS | {"label"},
)
