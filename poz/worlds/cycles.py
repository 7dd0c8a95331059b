"""Preferences with cycles, which no reward explains."""

from __future__ import annotations

import numpy as np

from poz.worlds._world import FIELDS, Aim, Said, Truth, World, sigmoid, wanted
from poz.worlds.language import LETTERS_OF, SIGNS, Floats

_KIND = 2 * np.pi / 3 * ((SIGNS.sum(-1) - LETTERS_OF) / 2 % 3)
"""Rock, paper, scissors by the number of `b`."""


def _prefers(aim: Aim, x: Floats) -> Floats:
    turning = 2.0 * np.sin(_KIND[:, None] - _KIND)
    better = 0.5 * wanted(aim, x)[:, None] * SIGNS[:, 0] - 0.3 * np.abs(LETTERS_OF - 3)
    return sigmoid(turning + better[:, :, None] - better[:, None, :])


def _answers(rng: np.random.Generator, p: Floats, places: Floats, truth: Truth) -> Said:
    wins = (rng.random(p.shape) < p).astype(float)
    upper = np.triu(wins, 1)
    return Said(None, upper + np.tril(1 - np.swapaxes(upper, -1, -2), -1) + 0.5 * np.eye(p.shape[-1]))


cycles = World(
    "cycles",
    "Sentences beat each other like rock, paper, scissors by their number of `b`, and some are better than others: there is "
    "no reward, annotators compare two at a time, and the reference leans to what is nothing to them. Regret is what a best "
    "response wins beyond one half; the Nash equilibrium's is 0.",
    ("intransitive",),
    lambda p: p,
    _answers,
    FIELDS - {"scores", "margin"},
    prefers=_prefers,
    tilt=0.8,
)
