"""Without dropout, for good."""

from __future__ import annotations

from typing import Any


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
