"""How the batches of each family are drawn: one file per family, found by the family's own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from poz.families import layout_of, named
from poz.objective import Objective

Draws = Callable[[Objective, np.random.Generator, int, float], Any]
Function = TypeVar("Function", bound=Draws)
_DRAWS: dict[type, Draws] = {}


def draws_of(family: type[Any]) -> Callable[[Function], Function]:
    """Says how a family is drawn: `function(objective, rng, size, widest)` gives `size` examples in float64 NumPy.

    All fields are filled; those that the objective does not read are dropped. No log-prob is below -`widest` nats.

    Raises:
        TypeError: No family.
    """
    layout_of(family)

    def register(function: Function) -> Function:
        _DRAWS[family] = function
        return function

    return register


def drawing(family: type[Any]) -> Draws:
    """What draws the batches of a family.

    Raises:
        TypeError: Nothing does.
    """
    if family not in _DRAWS and family.__module__.startswith("poz.families."):
        importlib.import_module(f"poz.testing.drawn.{family.__module__.rpartition('.')[2]}")
    if family not in _DRAWS:
        name = named(family)
        raise TypeError(
            f"Nothing is known about drawing {name}. Put @poz.testing.draws_of({name}) over a function "
            f"(objective, rng, size, widest) -> {name}."
        )
    return _DRAWS[family]
