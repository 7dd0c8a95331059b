"""Hyper-parameters from a command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import poz
from poz.cli.screen import stop
from poz.objective import Base, Objective


def read_params(objective: Objective, given: Iterable[str], where: str) -> dict[str, Any]:
    """From texts such as beta=0.5, each read by its domain; stops where one is none, and says `where`."""
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            stop(f"{where} takes a name and a value, as in beta=0.5; got {text!r}.")
        if name in values:
            stop(f"{where} gives {name} twice. Leave one out.")
        if name in objective.params:
            domain = objective.params[name].domain
            values[name] = poz.zoo.get(value, value) if isinstance(domain, Base) else domain.read(value)
        else:
            values[name] = value  # which `bind` refuses, by the name
    try:
        objective.bind(**values)
    except (TypeError, ValueError) as error:
        stop(str(error))
    return values
