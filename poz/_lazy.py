"""Packages whose modules are imported when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from poz._nearest import meant


def modules(package: str, path: Iterable[str]) -> tuple[list[str], Callable[[], list[str]], Callable[[str], Any]]:
    """`__all__`, `__dir__` and `__getattr__` of a package: its modules, those that begin with an underscore aside."""
    names = [part.name for part in iter_modules(path) if not part.name.startswith("_")]

    def shown() -> list[str]:
        return [*names, *(name for name in vars(sys.modules[package]) if name.startswith("__"))]

    def found(name: str) -> Any:
        if name in names:
            return import_module(f"{package}.{name}")
        raise AttributeError(
            f"`{package}` has no attribute {name!r}; its modules are {', '.join(names)}.{meant(name, names)}"
        )

    return names, shown, found
