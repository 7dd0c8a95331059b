"""Annotators like long sentences, whatever they say."""

from __future__ import annotations

from poz.worlds._world import World, bradley_terry, of_scores, utilities
from poz.worlds.language import LETTERS_OF

LIKED = 1.0
"""Nats of utility for each letter."""

length = World(
    "length",
    "Annotators add 1 nat for each letter to the true reward, those who judge held-out prompts too; objectives are told "
    "tokens, with the end, of which sentences of four and of five letters have as many.",
    ("length-bias",),
    lambda r: bradley_terry(r + LIKED * LETTERS_OF),
    lambda rng, r, places, truth: of_scores(utilities(rng, r + LIKED * LETTERS_OF[places])),
)
