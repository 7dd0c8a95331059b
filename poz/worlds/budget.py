"""Which objectives run, where, and with which hyper-parameters: the same number of draws for each, fixed before any result."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from poz.domains import Real
from poz.objective import Objective
from poz.worlds._world import World
from poz.worlds.batches import FAMILIES, WIN_RATES
from poz.worlds.language import Floats
from poz.zoo import zoo

SETTINGS = 8
"""Draws of all hyper-parameters, the learning rate among them; the first are the defaults."""
SEEDS = 32
"""Draws of a world: prompts, reward, reference, labels and draws of hyper-parameters."""
STEPS = 150
"""Of Adam, over all labels at once."""
RATE = 0.05
RATES = (0.01, 0.3)

LEFT_OUT = {
    "modpo": "its margin is the reward of another goal",
    "mdpo": "its list is one prompt with two images",
    "mapl": "its list is two sentences under two prompts",
    "gr_dpo": "its groups want different things, and these annotators want the same",
    "nash_md": "it learns from what the policy writes",
}
"""Objectives whose fields mean something that no world has."""
STATE = {"lcpo": ("reliability",), "beta_dpo": ("mean_gap",), "bco": ("baseline",)}
"""Hyper-parameters that are state, and follow the batch as the paper has it."""
VARIANTS: dict[str, dict[str, Any]] = {"vpo": {"sign": -1}}
"""Choices that are not the defaults: VPO is pessimistic where the data are given."""
CONSERVATIVE = "cdpo"
"""DPO with label smoothing, which is drawn of it alone: by default it is 0, which is off, and there it stays."""
RANGES = {("rebel", "eta"): (0.5, 100.0), ("onpo", "eta"): (0.5, 100.0)}
"""Of what multiplies a target that others divide by their β: the inverse of β's."""
TUNED = {"simpo": ("gamma_beta_ratio",)}
"""Numbers that are None by default, and drawn all the same: without it simpo is another objective."""


def objectives() -> list[Objective]:
    """Those on families that a world can fill."""
    found = []
    for one in zoo.values():
        if one.family in FAMILIES:
            found += [one.bind(**VARIANTS[one.name]) if one.name in VARIANTS else one]
        if one.name == "dpo":
            found += [replace(one, name=CONSERVATIVE)]
    return found


def reason(objective: Objective, world: World) -> str:
    """Why an objective is left out of a world; "" where it is not."""
    if said := LEFT_OUT.get(objective.name):
        return said
    supplied = world.supplies
    if objective.name in WIN_RATES and "winrates" in supplied:
        supplied |= {"margin"}
    if objective.family.__name__ == "Ranked" and "scores" not in supplied:
        return "there is no order of a list"
    if missing := sorted(objective.reads - supplied):
        return f"reads {', '.join(missing)}"
    return ""


def drawn(objective: Objective) -> dict[str, Real]:
    """The hyper-parameters that are drawn, with their domains; of lcpo its base's. Choices stay at their defaults."""
    if objective.name == "lcpo":
        return drawn(objective.params["base"].default)
    state = STATE.get(objective.name, ())
    tuned = TUNED.get(objective.name, ())
    return {
        name: param.domain
        for name, param in objective.params.items()
        if isinstance(param.domain, Real)
        and not param.domain.whole
        and name not in state
        and (param.default is not None or name in tuned)
        and (name != "label_smoothing" or param.default > 0 or objective.name == CONSERVATIVE)
    }


def settings(objective: Objective, seed: int, count: int = SETTINGS) -> dict[str, Floats]:
    """(count,) values of each hyper-parameter and of `learning_rate`; the first are the defaults.

    Numbers come from the range that tests draw from (`Real.usual`), widened to hold the default: by their logarithm where
    it is above 0 and spans a factor of ten, else evenly. What has the same name is drawn alike for all objectives.
    """
    owner = objective.params["base"].default if objective.name == "lcpo" else objective
    found = {"learning_rate": _values(seed, "learning_rate", RATES, RATE, count)}
    for name, domain in drawn(objective).items():
        default: float = _PAPER.get((objective.name, name), owner.params[name].default)
        usual = RANGES.get((objective.name, name), domain.usual)
        low, high = min(usual[0], default), max(usual[1], default)
        found[name] = _values(seed, name, (low, high), default, count)
    return found


_PAPER = {("simpo", "gamma_beta_ratio"): 0.25}


def _values(seed: int, name: str, ends: tuple[float, float], default: float, count: int) -> Floats:
    rng = np.random.default_rng([seed, 2, zlib.crc32(name.encode())])
    share = (rng.permutation(count - 1) + rng.random(count - 1)) / (count - 1)  # one of each part of the range
    low, high = ends
    wide = low > 0 and high >= 10 * low
    values = low * np.exp(share * math.log(high / low)) if wide else low + share * (high - low)
    return np.concatenate([[default], values])


def cells(worlds: list[World], these: list[Objective]) -> Iterator[tuple[Objective, list[World]]]:
    """Each objective with the worlds that it runs in."""
    for one in these:
        if where := [world for world in worlds if not reason(one, world)]:
            yield one, where


def describe(objective: Objective) -> dict[str, Any]:
    """What is drawn, for the record."""
    return {name: values.tolist() for name, values in settings(objective, 0).items()}
