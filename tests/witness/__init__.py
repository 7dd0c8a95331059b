"""A witness is a file: `<family>/NAME.py` says what an objective is, and shares nothing with poz.

formula    the textbook losses in 50 digits, without any stability trick: lists of exact numbers in, one loss per example out
ROWS       losses and gradients worked by hand, with where their numbers come from
constant   what the gradient holds constant, of (fields, params); `formula` takes it as `held`
kinks      of every example, how far it is from each kink or step of its loss; there ROWS say what holds
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from witness._maths import exact as exact
from witness._rows import Row as Row

FILES = {path.stem: path for path in Path(__file__).parent.glob("*/[a-z]*.py")}


class Witness(NamedTuple):
    """What the file of an objective says; what it leaves out, there is not."""

    formula: Callable[..., list[Any]]
    ROWS: list[Row]
    constant: Callable[[Mapping[str, Any], Mapping[str, Any]], Any] = lambda fields, params: None
    kinks: Callable[[Mapping[str, Any], Mapping[str, Any]], list[list[Any]]] = lambda fields, params: []


@functools.cache
def of(name: str) -> Witness:
    """The witness of the objective of that name."""
    if name not in FILES:
        raise LookupError(f"`{name}` has no witness; write tests/witness/<family>/{name}.py, after those beside it.")
    module = importlib.import_module(f"witness.{FILES[name].parent.name}.{name}")
    return Witness(**{field: getattr(module, field) for field in Witness._fields if hasattr(module, field)})


def losses(name: str, fields: Mapping[str, Any], params: Mapping[str, Any]) -> list[Any]:
    """Plain lists of numbers in, a list of losses out, in 50 digits."""
    return of(name).formula(**exact(fields), **exact(params))
