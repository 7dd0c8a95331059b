"""All worlds and objectives, one objective after another: what is chosen by the annotators, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from poz.objective import Objective
from poz.worlds import budget, measure
from poz.worlds._world import Truth, World
from poz.worlds.labels import Labels, labels
from poz.worlds.language import Floats

Record = dict[str, Any]
DIGITS = 3
"""That are kept: of rewards, whose standard deviation is 1.5, of nats and of shares."""


class Draws:
    """The draws of worlds by seeds, made once."""

    def __init__(self, worlds: Sequence[World], seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)
        self.truths: dict[str, list[Truth]] = {w.name: [w.truth(seed) for seed in seeds] for w in worlds}
        self.labels: dict[str, list[Labels]] = {w.name: [labels(w, t) for t in self.truths[w.name]] for w in worlds}
        self.judged = {w.name: [w.judged(t, "held_out") for t in self.truths[w.name]] for w in worlds}

    def stacked(self, worlds: Sequence[World]) -> Labels:
        """All labels, with leading (worlds, seeds)."""
        found: Labels = _stack([_stack(self.labels[world.name]) for world in worlds])
        return found


def _stack(these: Sequence[Any]) -> Any:
    first = these[0]
    if isinstance(first, tuple):
        return type(first)(*(_stack([one[i] for one in these]) for i in range(len(first))))
    return np.stack(these)


def run(
    worlds: Sequence[World], objectives: Sequence[Objective], draws: Draws, *, settings: int, steps: int
) -> Iterator[list[Record]]:
    """Of one objective after another its records, one of each world in which it runs."""
    from poz.worlds.training import train

    for one in objectives:
        where = [world for world in worlds if not budget.reason(one, world)]
        if not where:
            yield []
            continue
        drawn = [budget.settings(one, seed, settings) for seed in draws.seeds]
        values = {name: np.stack([each[name] for each in drawn]) for name in drawn[0]}
        theta, _ = train(one, draws.stacked(where), values, steps)
        theta = np.asarray(theta, np.float64)
        yield [record(one, world, draws, values, theta[place]) for place, world in enumerate(where)]


def record(one: Objective, world: World, draws: Draws, values: dict[str, Floats], theta: Floats) -> Record:
    """What is kept of an objective in a world: lists are by seed.

    Args:
        one: The objective.
        world: The world.
        draws: Of the worlds.
        values: (seeds, settings) of each hyper-parameter.
        theta: (seeds, settings, 2, FEATURES).
    """
    truths = draws.truths[world.name]
    failed = np.asarray(~np.isfinite(theta).all((-1, -2)))
    picks, rows = [], []
    for place, truth in enumerate(truths):
        pick = measure.choose(truth.held_out, draws.judged[world.name][place], theta[place], truth.seed)
        policies = np.where(failed[place, [pick, 0], None, None], 0.0, theta[place, [pick, 0]])
        worth = measure.worth(truth, policies)
        raised = measure.raised(draws.labels[world.name][place], policies)
        picks.append(pick)
        rows.append((worth.regret[0], worth.regret[1], worth.kl[0], worth.accuracy[0], raised[0]))
    names = ("regret", "regret_at_defaults", "kl", "accuracy", "raised")
    found = {
        name: [round(float(x), DIGITS) for x in column]
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    return {
        "objective": one.name,
        "world": world.name,
        **found,
        "picked": picks,
        "failed": int(failed.sum()),
    }


def reference(world: World, draws: Draws) -> Record:
    """What the reference is worth in a world, by seed."""
    found = [measure.worth(truth, measure.REFERENCE) for truth in draws.truths[world.name]]
    return {
        "world": world.name,
        "regret": [round(float(one.regret), DIGITS) for one in found],
        "accuracy": [round(float(one.accuracy), DIGITS) for one in found],
    }
