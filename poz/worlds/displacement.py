"""Pairs that are alike, beside which there is worse."""

from __future__ import annotations

from typing import Any

import numpy as np

from poz.worlds._world import Aim, Truth, World, without_repeats
from poz.worlds.language import COUNT, FEATURES, LETTERS_OF, SENTENCES, SIGNS, Floats, logps

_LAST = SIGNS[np.arange(COUNT), LETTERS_OF.astype(int) - 1]
_TWINS = np.array([(i, SENTENCES.index(s[:-1] + "b")) for i, s in enumerate(SENTENCES) if len(s) > 1 and s[-1] == "a"])


def _good(aim: Aim) -> float:
    return float(np.sign(aim.weights[0]))


def _reward(aim: Aim, x: Floats) -> Floats:
    first, last = _good(aim) * SIGNS[:, 0] > 0, (_good(aim) * _LAST < 0) & (LETTERS_OF > 1)
    return np.broadcast_to(2.0 * first + 1.0 * last, (len(x), COUNT))


def _sees(rng: np.random.Generator, truth: Truth) -> Any:
    likely = logps(truth.train, np.zeros((2, FEATURES)))[:, _TWINS]  # (prompts, twins, 2)
    weights = np.where(
        SIGNS[_TWINS[:, 0], 0] == _good(truth.aim), np.logaddexp(likely[..., 0], likely[..., 1]), -np.inf
    )
    return _TWINS[without_repeats(rng, weights, 2)].reshape(len(likely), -1)


displacement = World(
    "displacement",
    "Sentences of one letter first are much the better ones, and all that annotators see begin with it; the two of a pair "
    "differ in their last letter only, where the other is somewhat better. What makes that likelier everywhere makes the "
    "chosen ones rare.",
    ("displacement",),
    reward=_reward,
    sees=_sees,
)
