"""A language of 62 sentences, a reference and log-linear policies on it, all of them enumerated.

A sentence is one to five letters, `a` or `b`; up to four are followed by an end, which is a token too. A policy has at each place
a probability of each token,

    logits(prompt, prefix, token) = reference's logits + theta[token] · features(prompt, prefix),   0 for the end,

so what it learns of one prompt and place it says of others. Log-probs are sums over tokens, in nats.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LONGEST = 5
LETTERS, END = "ab", 2
SENTENCES = ["".join(letters) for n in range(1, LONGEST + 1) for letters in itertools.product(LETTERS, repeat=n)]
WIDTH = 3
"""Numbers that a prompt is."""
FEATURES = WIDTH + 3
"""One, the prompt, how far the sentence is, and its last letter."""
COUNT = len(SENTENCES)


def _tables() -> tuple[Floats, Floats, Floats, Floats]:
    tokens, here = np.zeros((3, COUNT, LONGEST), bool), np.zeros((COUNT, LONGEST, 2))
    signs = np.zeros((COUNT, LONGEST))
    for row, sentence in enumerate(SENTENCES):
        for place, letter in enumerate(sentence):
            tokens[LETTERS.index(letter), row, place] = True
            signs[row, place] = 1 if letter == "a" else -1
        if len(sentence) < LONGEST:
            tokens[END, row, len(sentence)] = True
    here[..., 0] = np.arange(LONGEST) / (LONGEST - 1)
    here[:, 1:, 1] = signs[:, :-1]
    here *= tokens.sum(0)[..., None]
    return tokens, here, signs, tokens.sum((0, 2)).astype(float)


TOKENS, HERE, SIGNS, LENGTHS = _tables()
"""(3, sentences, places) true at the token; (sentences, places, 2) place and last letter; (sentences, places) 1 at a, -1 at b;
(sentences,) tokens, the end included."""
LETTERS_OF = np.abs(SIGNS).sum(-1)
"""(sentences,) letters."""


def _begin() -> Floats:
    """(sentences, places, 3, sentences) 1 where the last begins as the first does up to a place, and goes on with the token."""
    found = np.zeros((COUNT, LONGEST, 3, COUNT))
    for row, sentence in enumerate(SENTENCES):
        for place in range(LONGEST):
            prefix = sentence[:place]
            for column, other in enumerate(SENTENCES):
                for token, text in enumerate((prefix + "a", prefix + "b")):
                    found[row, place, token, column] = other.startswith(text)
                found[row, place, END, column] = other == prefix
    return found


_BEGIN = _begin()


class Prompts(NamedTuple):
    """All sentences of some prompts.

    Attributes:
        x: (prompts, WIDTH) the prompts.
        features: (prompts, sentences, places, FEATURES).
        reference: (3, prompts, sentences, places) logits of the reference; -inf where the sentence may not end yet.
    """

    x: Floats
    features: Floats
    reference: Floats


def prompts(x: Floats, reference: Floats) -> Prompts:
    """All sentences of the prompts `x`, (prompts, WIDTH), under the reference with weights (2, FEATURES)."""
    said = np.broadcast_to(HERE, (len(x), *HERE.shape))
    asked = np.broadcast_to(x[:, None, None], (*said.shape[:3], WIDTH))
    features = np.concatenate([np.ones_like(said[..., :1]), asked, said], -1)
    logits = np.stack([features @ reference[0], features @ reference[1], np.full(said.shape[:3], -0.5)])
    logits[END, :, :, 0] = -np.inf
    return Prompts(x, features, logits)


def leaning(these: Prompts, gains: Floats) -> Prompts:
    """The same prompts under the reference times e^gains, (prompts, sentences), made whole again: exact, token by token."""
    p = np.exp(logps(these, np.zeros((2, FEATURES))) + gains)
    with np.errstate(divide="ignore"):
        return these._replace(reference=np.log(np.einsum("ps,ntvs->vpnt", p, _BEGIN)))


def token_logps(
    xp: Any, features: Any, reference: Any, tokens: Any, theta: Any, hold: Callable[[Any], Any] = lambda x: x
) -> Any:
    """Log-prob of each token of policies, 0 behind the end: (..., ..., places), policies before sentences.

    Args:
        xp: NumPy or jax.numpy.
        features: (..., places, FEATURES).
        reference: (3, ..., places) logits.
        tokens: (3, ..., places) true at the token.
        theta: (2, ..., FEATURES), the policies.
        hold: `jax.lax.stop_gradient`, which saves the slope of what cancels.
    """
    moved = xp.tensordot(theta, features, axes=([-1], [-1]))
    a, b, end = reference[0] + moved[0], reference[1] + moved[1], reference[2]
    top = hold(xp.maximum(xp.maximum(a, b), end))
    log_sum = xp.log(xp.exp(a - top) + xp.exp(b - top) + xp.exp(end - top)) + top
    taken = xp.where(tokens[0], a, xp.where(tokens[1], b, end))
    return xp.where(tokens[0] | tokens[1] | tokens[2], taken - log_sum, 0.0)


def logps(these: Prompts, theta: Floats) -> Floats:
    """(..., prompts, sentences) log-probs of all sentences under policies (..., 2, FEATURES), in nats; float64."""
    policies = np.moveaxis(np.asarray(theta, np.float64), -2, 0)
    return np.asarray(token_logps(np, these.features, these.reference, TOKENS[:, None], policies).sum(-1))
