"""What the records of a run say: shares of the reference's regret, with intervals, and what that means for what is claimed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from poz.purposes import Answer
from poz.worlds import WORLDS
from poz.worlds.budget import CONSERVATIVE, VARIANTS
from poz.zoo import zoo

Results = dict[str, Any]

BASELINE = {"Ranked": "plackett_luce"}
"""What an objective is compared with, by its family; dpo where it is not said."""
MEASURES = {"displacement": "raised", "no-tuning": "regret_at_defaults"}
"""What decides whether a purpose is served; regret where it is not said."""
NOT_JUDGED = {("spce", "preference-strength"): "its strengths are labels, which are all 1 here"}
"""Claims of what no world gives; nor are those judged that need hyper-parameters which are not run."""
CONFIDENCE, CLAIMED = 0.95, 0.99
"""Of intervals, and of those by which a claim is judged: there are many."""


class Interval(NamedTuple):
    """A mean over seeds, and Student's interval around it."""

    mean: float
    low: float
    high: float


def interval(values: Any, confidence: float = CONFIDENCE) -> Interval:
    """Student's interval of the mean of two values or more."""
    x = np.asarray(values, np.float64)
    half = student(len(x) - 1, confidence) * float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.inf
    return Interval(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half)


def student(freedom: int, confidence: float) -> float:
    """The quantile of Student's t: Cornish and Fisher's expansion, Abramowitz and Stegun 26.7.5; to 1 % from 3 degrees on."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))


class Cell(NamedTuple):
    """An objective in a world.

    Attributes:
        share: Regret over the mean regret of the reference: 0 is the optimum, 1 the reference.
        beyond: Regret less that of the baseline on the same seeds, over the same; below 0 is better. None of the baseline itself.
        worst: The largest share of a seed.
        defaults: `share` with the default hyper-parameters.
        kl: KL spent, in nats.
        accuracy: How often the policy finds the better sentence likelier.
        raised: The share of chosen sentences that became likelier.
        failed: Runs that were not finite.
    """

    share: Interval
    beyond: Interval | None
    worst: float
    defaults: Interval
    kl: Interval
    accuracy: Interval
    raised: Interval
    failed: int


def cells(results: Results) -> dict[tuple[str, str], Cell]:
    """By objective and world."""
    records = {(one["objective"], one["world"]): one for one in results["results"]}
    whole = {one["world"]: float(np.mean(one["regret"])) for one in results["reference"]}
    found = {}
    for (name, world), one in records.items():
        base = records.get((baseline(name), world))
        scale = whole[world]
        found[name, world] = Cell(
            interval(np.array(one["regret"]) / scale),
            None if base is None or base is one else interval(_beyond(one, base, "regret") / scale),
            max(one["regret"]) / scale,
            interval(np.array(one["regret_at_defaults"]) / scale),
            interval(one["kl"]),
            interval(one["accuracy"]),
            interval(one["raised"]),
            one["failed"],
        )
    return found


def baseline(name: str) -> str:
    """What the objective is compared with."""
    return BASELINE.get(zoo[name].family.__name__, "dpo")


def _beyond(one: dict[str, Any], base: dict[str, Any], what: str) -> Any:
    return np.array(one[what]) - np.array(base[what])


class Verdict(NamedTuple):
    """Whether a world bears out that an objective serves a purpose."""

    objective: str
    purpose: str
    world: str
    measure: str
    beyond: Interval
    verdict: str


def verdicts(results: Results) -> Iterator[Verdict]:
    """Of every purpose that an objective is, or was, said to serve and that a world tests."""
    records = {(one["objective"], one["world"]): one for one in results["results"]}
    start = {one["world"]: np.array(one["regret"]) for one in results.get("reference", ())}
    for spec in zoo.values():
        for answer in (*spec.answers, *(one for one in spec.said if one.against)):
            name = runs_as(spec.name, answer)
            for world in (world for world in WORLDS.values() if answer.to in world.purposes and name):
                one, base = records.get((name, world.name)), records.get((baseline(spec.name), world.name))
                if one is None or base is None or one is base:
                    continue
                measure = MEASURES.get(answer.to, "regret")
                gap = interval(_beyond(one, base, measure), CLAIMED)
                better = gap.low > 0 if measure == "raised" else gap.high < 0
                worse = gap.high < 0 if measure == "raised" else gap.low > 0
                verdict = "supported" if better else "FAILS" if worse else "undecided"
                if better and measure == "raised" and interval(one["regret"] - start[world.name], CLAIMED).high >= 0:
                    verdict = "at a price"
                yield Verdict(name, answer.to, world.name, measure, gap, verdict)


def runs_as(name: str, answer: Answer) -> str:
    """The name under which what an objective is said to be for is run; "" where nothing of the kind is."""
    if (name, answer.to) in NOT_JUDGED:
        return ""
    return CONSERVATIVE if answer.under and name == "dpo" else "" if answer.under and name not in VARIANTS else name


def mark(cell: Cell) -> str:
    """A plus where it is better than the baseline beyond its interval, a minus where it is worse; "" else."""
    if cell.beyond is None:
        return ""
    return "+" if cell.beyond.high < 0 else "-" if cell.beyond.low > 0 else ""
