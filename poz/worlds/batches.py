"""What an objective is given: a family filled from the labels of a world and the policy's token log-probs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poz.families import Pairs, Ranked, Samples, TokenPairs, Unpaired
from poz.objective import Objective
from poz.worlds.labels import Labels

FAMILIES = (Pairs, TokenPairs, Ranked, Unpaired, Samples)
WIN_RATES = ("dno", "egpo")
"""Whose `margin` is a gap of win rates."""
THREE = ("tpo",)
"""Whose list is the best, the second and the worst."""
Logps = Callable[[Any], Any]


def batch(xp: Any, objective: Objective, labels: Labels, logps: Logps) -> Any:
    """The batch that `objective` reads, as the family has it.

    Args:
        xp: `jax.numpy`, or NumPy.
        objective: Of one of `FAMILIES`; what it neither reads nor may read is left out.
        labels: Of a world.
        logps: Gives of `Sentences` the policy's token log-probs, (n, places) in nats.
    """
    made = _MAKE[objective.family](xp, objective, labels, logps)
    wanted = objective.reads | objective.optional
    return objective.family(**{name: value() for name, value in made.items() if name in wanted})


def _pairs(xp: Any, objective: Objective, labels: Labels, logps: Logps) -> dict[str, Callable[[], Any]]:
    seen = labels.seen
    own, reference = logps(seen).sum(-1), seen.logps.sum(-1)
    given = labels.winrates if objective.name in WIN_RATES else labels.scores
    return {
        "chosen": lambda: own[0::2],
        "rejected": lambda: own[1::2],
        "ref_chosen": lambda: reference[0::2],
        "ref_rejected": lambda: reference[1::2],
        "chosen_len": lambda: seen.lengths[0::2],
        "rejected_len": lambda: seen.lengths[1::2],
        "opponents_chosen": lambda: reference[None, 0::2],
        "opponents_rejected": lambda: reference[None, 1::2],
        "calibration": lambda: logps(labels.drawn).sum(-1),
        "ref_calibration": lambda: labels.drawn.logps.sum(-1),
        "margin": lambda: given.reshape(-1, 2) @ xp.asarray([1.0, -1.0], given.dtype),
        "label": lambda: labels.label,
        "annotator": lambda: labels.annotator,
        "entropy": lambda: labels.entropy,
        "prompt_embedding": lambda: labels.x,
    }


def _token_pairs(xp: Any, objective: Objective, labels: Labels, logps: Logps) -> dict[str, Callable[[], Any]]:
    seen = labels.seen
    own, here = logps(seen), seen.tokens.sum(0) > 0
    return {
        "chosen": lambda: own[0::2],
        "rejected": lambda: own[1::2],
        "ref_chosen": lambda: seen.logps[0::2],
        "ref_rejected": lambda: seen.logps[1::2],
        "chosen_mask": lambda: here[0::2],
        "rejected_mask": lambda: here[1::2],
        "label": lambda: labels.label,
    }


def _lists(xp: Any, objective: Objective, labels: Labels, logps: Logps) -> dict[str, Callable[[], Any]]:
    seen, order = labels.seen, labels.order
    shape = order.shape
    if objective.name in THREE:
        order = xp.concatenate([order[:, :2], order[:, -1:]], -1)

    def ranked(x: Any) -> Any:
        return xp.take_along_axis(x.reshape(shape), order, -1)

    return {
        "logps": lambda: ranked(logps(seen).sum(-1)),
        "ref_logps": lambda: ranked(seen.logps.sum(-1)),
        "lengths": lambda: ranked(seen.lengths),
        "scores": lambda: ranked(labels.scores),
    }


def _unpaired(xp: Any, objective: Objective, labels: Labels, logps: Logps) -> dict[str, Callable[[], Any]]:
    seen, others = labels.seen, labels.others
    good = xp.arange(seen.lengths.shape[0]) % 2 == 0
    bad_only = 2.0 * (1 - good) if objective.name == "npo" else xp.ones_like(seen.lengths)
    return {
        "logps": lambda: logps(seen).sum(-1),
        "ref_logps": lambda: seen.logps.sum(-1),
        "desirable": lambda: good,
        "weights": lambda: xp.asarray(bad_only, seen.lengths.dtype),
        "kl_logps": lambda: logps(others).sum(-1),
        "kl_ref_logps": lambda: others.logps.sum(-1),
    }


def _samples(xp: Any, objective: Objective, labels: Labels, logps: Logps) -> dict[str, Callable[[], Any]]:
    seen, shape = labels.seen, labels.winrates.shape
    return {
        "logps": lambda: logps(seen).sum(-1).reshape(shape),
        "anchor_logps": lambda: seen.logps.sum(-1).reshape(shape),
        "ref_logps": lambda: seen.logps.sum(-1).reshape(shape),
        "winrates": lambda: (
            labels.winrates - (0.5 if objective.name == "gpo" else 0.0)
        ),  # which reads antisymmetric scores
    }


_MAKE = {Pairs: _pairs, TokenPairs: _token_pairs, Ranked: _lists, Unpaired: _unpaired, Samples: _samples}
