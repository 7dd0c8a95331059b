"""What a policy is worth, exactly; and which hyper-parameters are taken, by those who must not know it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from poz.worlds._world import Truth
from poz.worlds.labels import Labels
from poz.worlds.language import FEATURES, Floats, Prompts, logps, token_logps

JUDGEMENTS = 256
"""Comparisons with the reference by which each setting is judged."""
REFERENCE = np.zeros((2, FEATURES))
"""The weights of the reference itself."""


class Worth(NamedTuple):
    """Of policies (...,), means over the prompts of the test.

    Attributes:
        regret: What is lost of the best reward; with cycles, what a best response wins beyond one half.
        kl: KL(policy || reference) in nats.
        accuracy: Of two sentences that the reference writes, how often the policy finds the better one likelier.
    """

    regret: Floats
    kl: Floats
    accuracy: Floats


def worth(truth: Truth, theta: Floats) -> Worth:
    """Of policies (..., 2, FEATURES), by enumeration."""
    log_p, log_q = logps(truth.test, theta), logps(truth.test, REFERENCE)
    p, q = np.exp(log_p), np.exp(log_q)
    kl = (p * (log_p - log_q)).sum(-1)
    if truth.gains is None:
        r = truth.rewards["test"]
        lost = r.max(-1) - (p * r).sum(-1)
        better = r[:, :, None] - r[:, None, :]
    else:
        gains = truth.gains["test"]
        lost = np.einsum("nij,...nj->...ni", gains, p).max(-1) - 0.5
        better = gains - 0.5
    weight = q[:, :, None] * q[:, None, :] * (better > 1e-12)  # of each pair one order
    right = np.stack([_right(one, better, weight) for one in log_p.reshape(-1, *q.shape)]).reshape(log_p.shape[:-2])
    return Worth(lost.mean(-1), kl.mean(-1), right)


def _right(log_p: Floats, better: Floats, weight: Floats) -> Floats:
    return np.asarray((weight * (log_p[:, :, None] > log_p[:, None, :])).sum() / weight.sum())


def raised(labels: Labels, theta: Floats) -> Floats:
    """(...,) the share of chosen sentences of the training that are likelier than under the reference; where displaced, 0."""
    seen = labels.seen
    policies = np.moveaxis(np.asarray(theta, np.float64), -2, 0)
    own = token_logps(
        np, seen.features, seen.reference[:, None], seen.tokens[:, None], policies.reshape(2, -1, FEATURES)
    )
    gap = ((own - seen.logps).sum(-1)[:, 0::2] > 0).mean(-1)
    return np.asarray(gap.reshape(policies.shape[1:-1]))


def win_rates(held_out: Prompts, judged: Floats, theta: Floats, seed: int, count: int = JUDGEMENTS) -> Floats:
    """(settings,) how often annotators prefer a sentence of the policy to one of the reference, in `count` comparisons.

    It is given no reward: only how often the annotators of this world, who may err or like length, prefer what to what. All
    settings, and all objectives, meet the same prompts, sentences of the reference and dice.

    Args:
        held_out: Prompts that were not trained on.
        judged: (prompts, sentences, sentences) how often they prefer the one to the other.
        theta: (settings, 2, FEATURES).
        seed: Of the dice.
        count: Of comparisons.
    """
    rng = np.random.default_rng([seed, 3])
    prompt = np.arange(count) % len(held_out.x)
    dice = rng.random((3, count))
    own = _write(np.exp(logps(held_out, theta))[:, prompt], dice[0])
    other = _write(np.exp(logps(held_out, REFERENCE))[prompt], dice[1])
    return np.asarray((dice[2] < judged[prompt, own, other]).mean(-1))


def _write(p: Floats, dice: Floats) -> Any:
    """(..., n) sentences by their probabilities (..., n, sentences)."""
    total = p.cumsum(-1)
    return np.minimum((total < dice[:, None]).sum(-1), p.shape[-1] - 1)


def choose(held_out: Prompts, judged: Floats, theta: Floats, seed: int) -> int:
    """The setting with the highest win rate; the first of equal ones, and the defaults where no policy is finite."""
    finite = np.asarray(np.isfinite(theta).all((-1, -2)))
    rates = win_rates(held_out, judged, np.where(finite[:, None, None], theta, 0.0), seed)
    return int(np.argmax(np.where(finite, rates, -1.0)))
