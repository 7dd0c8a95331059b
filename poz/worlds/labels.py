"""The labels of a world, as arrays: what annotators were shown, and what they said of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from poz.worlds._world import LIST, TRAIN, Truth, World
from poz.worlds.language import FEATURES, LENGTHS, TOKENS, Floats, logps, token_logps

_NONE = np.zeros((2, FEATURES))


class Sentences(NamedTuple):
    """Sentences under their prompts.

    Attributes:
        features: (n, places, FEATURES).
        reference: (3, n, places) logits.
        tokens: (3, n, places) true at the token.
        logps: (n, places) token log-probs under the reference, in nats.
        lengths: (n,) tokens.
    """

    features: Floats
    reference: Floats
    tokens: Floats
    logps: Floats
    lengths: Floats


class Labels(NamedTuple):
    """All that is trained on; the true reward is not in it.

    Attributes:
        seen: Sentences that were judged, (lists · LIST); of each list two pairs, chosen before rejected.
        others: (lists · LIST) sentences of the next list under the prompts of this one (KTO's).
        drawn: (lists,) sentences of the reference (the calibration samples).
        scores: (lists, LIST) of annotators, as `seen` stands; zeros where there are none.
        winrates: (lists, LIST) share of the list that each beats, itself one half.
        order: (lists, LIST) places in the list, best first.
        label: (2 · lists,) 1, or 1/2 of a tie where the world has such labels.
        annotator: (2 · lists,) who said so, 0 where that is not known.
        entropy: (2 · lists,) of the reference, as `poz.Pairs` has it.
        x: (2 · lists, WIDTH) the prompts.
    """

    seen: Sentences
    others: Sentences
    drawn: Sentences
    scores: Floats
    winrates: Floats
    order: Any
    label: Floats
    annotator: Any
    entropy: Floats
    x: Floats


def _taken(truth: Truth, rows: Any, places: Any) -> Sentences:
    these = truth.train
    features, reference, tokens = these.features[rows, places], these.reference[:, rows, places], TOKENS[:, places]
    reference = np.where(np.isfinite(reference), reference, -1e9)  # whose slope is 0, not NaN
    return Sentences(features, reference, tokens, token_logps(np, features, reference, tokens, _NONE), LENGTHS[places])


def _entropy(these: Sentences) -> Floats:
    """(n,) sums of the reference's entropy over tokens, as a share of that of three equal tokens."""
    p = np.exp(these.reference - these.reference.max(0))
    p /= p.sum(0)
    here = these.tokens.any(0)
    return np.asarray((here * -(p * np.log(np.maximum(p, 1e-300))).sum(0)).sum(-1) / np.log(3))


def labels(world: World, truth: Truth) -> Labels:
    """What the annotators of a world said, by the seed of the truth.

    Where there is little data it is repeated, so that all worlds have one shape: a mean over it is the same.
    """
    rng = np.random.default_rng([truth.seed, 1])
    places = world.sees(rng, truth)
    rows = np.arange(TRAIN)[:, None]
    if truth.gains is None:
        given = truth.rewards["train"][rows, places]
    else:
        given = truth.gains["train"][rows[..., None], places[:, :, None], places[:, None, :]]
    said = world.answers(rng, given, places, truth)
    drawn = rng.random(TRAIN)
    pair = said.wins.reshape(TRAIN, LIST, LIST)[:, [0, 2], [1, 3]]
    coin = rng.random(pair.shape) < 0.5
    second = (pair < 0.5) | ((pair == 0.5) & coin)  # which of a pair is chosen
    within = np.array([0, 0, 2, 2]) + np.stack([second, ~second], -1).reshape(TRAIN, LIST)
    places = np.take_along_axis(places, within, 1)
    scores = np.zeros((TRAIN, LIST)) if said.scores is None else np.take_along_axis(said.scores, within, 1)
    winrates = np.take_along_axis(said.wins.mean(-1), within, 1)
    kept = np.arange(TRAIN) % world.lists
    tied = (pair == 0.5) & ("label" in world.supplies)
    annotator = np.zeros(TRAIN, int) if said.annotator is None else said.annotator
    p = np.exp(logps(truth.train, _NONE)).cumsum(-1)
    samples = np.minimum((p < drawn[:, None]).sum(-1), p.shape[-1] - 1)
    seen = _taken(truth, np.repeat(kept, LIST), places[kept].reshape(-1))
    entropy = _entropy(seen).reshape(-1, 2).sum(-1) / seen.lengths.reshape(-1, 2).sum(-1)
    order = np.argsort(-(winrates if said.scores is None else scores), -1, kind="stable")
    return Labels(
        seen,
        _taken(truth, np.repeat(kept, LIST), np.roll(places[kept], 1, 0).reshape(-1)),
        _taken(truth, kept, samples[kept]),
        scores[kept],
        winrates[kept],
        order[kept],
        np.where(tied, 0.5, 1.0)[kept].reshape(-1),
        np.repeat(annotator[kept], 2),
        entropy,
        np.repeat(truth.train.x[kept], 2, 0),
    )
