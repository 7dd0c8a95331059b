"""Annotators who flip labels at different rates, and it is known who labelled what."""

from __future__ import annotations

import numpy as np

from poz.worlds._world import FIELDS, Said, Truth, World, bradley_terry, of_scores, swapped, utilities
from poz.worlds.language import Floats

RELIABILITY = np.array([0.98, 0.9, 0.65, 0.5])
"""Share of each one's labels that are not flipped; the last tosses a coin. Each labels a fourth of the lists."""


def _judges(r: Floats) -> Floats:
    clean = RELIABILITY.mean()
    return np.asarray(1 - clean + (2 * clean - 1) * bradley_terry(r))


def _answers(rng: np.random.Generator, r: Floats, places: Floats, truth: Truth) -> Said:
    who = rng.permutation(len(r)) % len(RELIABILITY)
    return of_scores(swapped(utilities(rng, r), rng.random((len(r), 2)) > RELIABILITY[who, None]), who)


annotators = World(
    "annotators",
    "Four annotators, of whose labels 98, 90, 65 and 50 % are not flipped; it is known whose a label is.",
    ("annotators", "noisy-labels"),
    _judges,
    _answers,
    FIELDS | {"annotator"},
)
