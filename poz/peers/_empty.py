"""Packages that are imported and not called, such as those that build for a GPU, empty where they are not installed."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator

from poz.peers._checkouts import Finder, Nothing


@contextlib.contextmanager
def empty_packages(*names: str) -> Iterator[None]:
    """Within it those that are not installed can be imported; it forgets them afterwards, so that nobody takes them for real."""
    finder = Finder([name for name in names if importlib.util.find_spec(name) is None])
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name, module in list(sys.modules.items()):
            if isinstance(module, Nothing):
                del sys.modules[name]
