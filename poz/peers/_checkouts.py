"""Files of a checkout, imported without what they import and do not call, and completions as the tokens they take."""

from __future__ import annotations

import abc
import contextlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


class _Inert(abc.ABCMeta):
    """Of which every attribute is there too."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _inert(name)


def _inert(name: str) -> Any:
    """A class that takes whatever it is given, and as a decorator leaves what it decorates."""
    methods = {"__init__": lambda self, *args, **rest: None, "__call__": lambda self, it=None: it}
    return _Inert(name, (), methods)


class Nothing(types.ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _inert(name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if any(f"{name}.".startswith(f"{one}.") for one in self.names):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return Nothing(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextlib.contextmanager
def reading(file: str, *absent: str) -> Iterator[None]:
    """Puts the checkout with the file first, and empty modules for those absent; forgets what it imported afterwards.

    Several checkouts have a `utils`, and an empty `wandb` would mislead whoever asks for it next.
    """
    tree = next((path for path in sys.path if Path(path, file).is_file()), None)
    if tree is None:
        raise ImportError(f"no checkout on sys.path has {file}")
    finder, there = Finder(absent), dict(sys.modules)
    for name in [name for name in sys.modules if any(f"{name}.".startswith(f"{one}.") for one in absent)]:
        del sys.modules[name]
    folders = [str(Path(tree, file).parent), tree]
    sys.path[:0] = folders
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for folder in folders:
            sys.path.remove(folder)
        gone = [
            name for name, module in sys.modules.items()
            if isinstance(module, Nothing) or str(getattr(module, "__file__", None) or "").startswith(f"{tree}/")
        ]  # fmt: skip
        for name in gone:
            parent, _, child = name.rpartition(".")
            vars(sys.modules.get(parent, finder)).pop(child, None)  # where an import leaves it too
            del sys.modules[name]
        for name in there.keys() - sys.modules.keys():
            parent, _, child = name.rpartition(".")
            sys.modules[name] = there[name]
            setattr(there.get(parent, finder), child, there[name])


def made(kind: type, **attributes: Any) -> Any:
    """An object of the class with these attributes alone, its `__init__` not run."""
    this: Any = object.__new__(kind)
    vars(this).update(attributes)
    return this


def spread(sums: Any, lengths: Any) -> tuple[Any, Any]:
    """Log-probs of tokens, (batch, tokens), that add up to `sums`, alike within a completion, and their mask."""
    import torch

    mask = torch.arange(int(lengths.max().clamp(min=1))) < lengths[:, None]
    return torch.where(mask, (sums / lengths.clamp(min=1))[:, None], 0.0), mask
