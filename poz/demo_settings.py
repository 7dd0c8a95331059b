"""How `poz demo` trains an objective unless it is told otherwise: steps, learning rate and the objective's scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from poz.objective import Objective


class Setting(NamedTuple):
    """Optimiser steps, peak of the learning rate, and hyper-parameters that differ from the objective's defaults."""

    steps: int
    rate: float
    params: Mapping[str, Any] = {}


USUAL = Setting(80, 1e-3)


def setting_of(objective: str | Objective) -> Setting:
    """Of an objective."""
    return USUAL
