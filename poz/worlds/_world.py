"""What a world is: a reward, a reference, and annotators who judge; and what is drawn of it, by a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from poz.worlds.language import COUNT, FEATURES, LETTERS_OF, SIGNS, WIDTH, Floats, Prompts, leaning, logps, prompts

TRAIN, HELD_OUT, TEST = 24, 16, 16
"""Prompts that are trained on, that choices are made on, and that are judged by the truth."""
LIST = 4
"""Sentences that annotators see of each prompt: two pairs, or a list."""
SPREAD = 1.5
"""Standard deviation of the reward under a reference that knows nothing of it."""

PAIRS = (
    "chosen",
    "rejected",
    "ref_chosen",
    "ref_rejected",
    "chosen_len",
    "rejected_len",
    "chosen_mask",
    "rejected_mask",
)
ORDERED = ("logps", "ref_logps", "lengths", "scores", "desirable", "weights", "kl_logps", "kl_ref_logps", "margin")
BESIDE = ("opponents_chosen", "opponents_rejected", "calibration", "ref_calibration", "entropy", "prompt_embedding")
FIELDS = frozenset({*PAIRS, *ORDERED, *BESIDE, "anchor_logps", "winrates"})
"""What a world supplies whose annotators give scores."""


class Said(NamedTuple):
    """What annotators say of lists.

    Attributes:
        scores: (lists, LIST) what they gave each sentence; the better one of a pair has more. None where they only compare.
        wins: (lists, LIST, LIST) 1 where the one is preferred to the other, 1/2 for a tie and of each to itself.
        annotator: (lists,) who judged; None where that is not known.
    """

    scores: Floats | None
    wins: Floats
    annotator: Any = None


@dataclass(frozen=True)
class Truth:
    """A draw of a world.

    Attributes:
        seed: Of the draw.
        train: Prompts that are trained on.
        held_out: Prompts on which hyper-parameters are chosen, by the annotators.
        test: Prompts on which regret is measured.
        rewards: Of each of these, by its name, the true reward, (prompts, sentences).
        gains: Of each of these the true preference, (prompts, sentences, sentences), where there is no reward.
        aim: What the annotators want, numbers of the world's own.
    """

    seed: int
    train: Prompts
    held_out: Prompts
    test: Prompts
    rewards: dict[str, Floats]
    gains: dict[str, Floats] | None
    aim: Any


class Aim(NamedTuple):
    """What is wanted: of a prompt x, letters of sign(weights · (1, x)), that alternate or repeat, and a length."""

    weights: Floats
    alternate: float
    length: Floats


def draw_aim(rng: np.random.Generator) -> Aim:
    """Any aim."""
    return Aim(rng.normal(0, 1, 1 + WIDTH), rng.choice([-0.7, 0.7]), rng.normal(0, 1, WIDTH))


def wanted(aim: Aim, x: Floats) -> Floats:
    """(prompts,) how much more an `a` is wanted than a `b`."""
    return np.asarray(np.tanh(aim.weights[0] * 0.5 + x @ aim.weights[1:]))


def reward(aim: Aim, x: Floats) -> Floats:
    """(prompts, sentences) of the letters, of how they follow each other, less the distance from the length that is wanted."""
    letters = wanted(aim, x)[:, None] * SIGNS.sum(-1)
    turns = (SIGNS[:, 1:] * SIGNS[:, :-1] < 0).sum(-1)
    length = np.clip(3 + 1.5 * (x @ aim.length), 1, 5)[:, None]
    return np.asarray(letters + aim.alternate * turns - 0.7 * np.abs(LETTERS_OF - length))


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e^-x)."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def bradley_terry(r: Floats) -> Floats:
    """(..., K, K) probability that the one is preferred to the other, of rewards (..., K)."""
    return sigmoid(r[..., :, None] - r[..., None, :])


def utilities(rng: np.random.Generator, rewards: Floats) -> Floats:
    """Rewards with Gumbel noise: their order is Plackett-Luce's, so each pair is Bradley-Terry's."""
    return rewards + rng.gumbel(size=rewards.shape)


def by_utility(rng: np.random.Generator, rewards: Floats, places: Any, truth: Truth) -> Said:
    """Scores that are utilities."""
    return of_scores(utilities(rng, rewards))


def of_scores(scores: Floats, annotator: Any = None) -> Said:
    """What follows from scores."""
    wins = 0.5 + 0.5 * np.sign(scores[..., :, None] - scores[..., None, :])
    return Said(scores, wins, annotator)


def swapped(scores: Floats, flips: Any) -> Floats:
    """Scores of which those of the two sentences of a pair change places where (lists, 2) `flips` is true."""
    pairs = scores.reshape(-1, 2, 2)
    return np.where(np.asarray(flips)[..., None], pairs[..., ::-1], pairs).reshape(scores.shape)


def without_repeats(rng: np.random.Generator, log_weights: Floats, count: int = LIST) -> Any:
    """(prompts, count) different sentences of each prompt, drawn one after another by e^(prompts, sentences)."""
    return np.argsort(-(log_weights + rng.gumbel(size=log_weights.shape)), -1)[:, :count]


def _drawn(rng: np.random.Generator, truth: Truth) -> Any:
    return without_repeats(rng, logps(truth.train, np.zeros((2, FEATURES))))


@dataclass(frozen=True)
class World:
    """A world whose best policy is known.

    Attributes:
        name: Its name; also of its file.
        says: What is so in it, in a sentence.
        purposes: What of `poz.purposes.PURPOSES` it is a test of.
        judges: rewards (prompts, K) -> (prompts, K, K), how often annotators prefer the one to the other, a tie being half of
            it; exact.
        answers: (rng, rewards of lists (lists, K), places of their sentences, truth) -> what annotators say of them.
        supplies: The fields that it gives.
        reward: (aim, prompts) -> (prompts, sentences), the true reward.
        prefers: (aim, prompts) -> (prompts, sentences, sentences), the true preference where no reward explains it.
        tilt: The reference is multiplied by e^(tilt · reward).
        sees: (rng, truth) -> (lists, K) places of the sentences that annotators are shown; the reference's own.
        lists: Of how many prompts there are labels.
    """

    name: str
    says: str
    purposes: tuple[str, ...]
    judges: Callable[[Floats], Floats] = bradley_terry
    answers: Callable[..., Said] = by_utility
    supplies: frozenset[str] = FIELDS
    reward: Callable[[Aim, Floats], Floats] = reward
    prefers: Callable[[Aim, Floats], Floats] | None = None
    tilt: float = 0.0
    sees: Callable[[np.random.Generator, Truth], Any] = _drawn
    lists: int = TRAIN

    def truth(self, seed: int) -> Truth:
        """A draw: prompts, reference and reward; the same seed has the same prompts and aim in every world."""
        rng = np.random.default_rng([seed, 0])
        aim = draw_aim(rng)
        weights = rng.normal(0, 0.4, (2, FEATURES))
        sets = {name: rng.normal(0, 1, (n, WIDTH)) for name, n in _SETS.items()}
        plain = {name: prompts(x, weights) for name, x in sets.items()}
        rewards = {name: self.reward(aim, x) for name, x in sets.items()}
        p = np.exp(logps(plain["train"], np.zeros((2, FEATURES))))
        mean = (p * rewards["train"]).sum(-1, keepdims=True)
        scale = SPREAD / np.sqrt((p * (rewards["train"] - mean) ** 2).sum(-1).mean())
        rewards = {name: scale * r for name, r in rewards.items()}
        made = {
            name: leaning(these, self.tilt * rewards[name]) if self.tilt else these for name, these in plain.items()
        }
        gains = None if self.prefers is None else {name: self.prefers(aim, x) for name, x in sets.items()}
        return Truth(seed, made["train"], made["held_out"], made["test"], rewards, gains, aim)

    def judged(self, truth: Truth, of: str) -> Floats:
        """(prompts, sentences, sentences) how often annotators prefer the one to the other on the prompts `of`."""
        return self.judges(truth.rewards[of] if truth.gains is None else truth.gains[of])


_SETS = {"train": TRAIN, "held_out": HELD_OUT, "test": TEST}
assert COUNT > LIST
