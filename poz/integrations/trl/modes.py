"""Without dropout: for a with-block, and for good."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Eval mode for the time of a with-block; afterwards each module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def disable_dropout(model: Any) -> None:
    """Sets to 0 the rates that TRL's does not reach: those of attention, other kinds of dropout, and of adapters."""
    for module in model.modules():
        kind = type(module).__name__.lower()
        for name, value in vars(module).items():
            if "drop" not in (kind if name == "p" else name):
                continue
            if isinstance(value, float):
                setattr(module, name, 0.0)
            elif isinstance(value, dict):  # one for each adapter
                value.update({key: 0.0 for key, rate in value.items() if isinstance(rate, float)})
