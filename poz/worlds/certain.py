"""Annotators who never err."""

from __future__ import annotations

import numpy as np

from poz.worlds._world import World, of_scores

certain = World(
    "certain",
    "The better sentence is preferred, always: no label contradicts another. Of two that are equally good a coin decides.",
    (),
    lambda r: 0.5 + 0.5 * np.sign(r[..., :, None] - r[..., None, :]),
    lambda rng, r, places, truth: of_scores(r),
)
