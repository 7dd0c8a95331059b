"""Whether what an audit found is of the files as they are: those that say how the function is called, and the reference."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from poz import reference
from poz._digest import digest
from poz.peers._library import Fact, LogProbs, Loss


def state(row: Loss | LogProbs | Fact) -> str:
    """The digest of the file of a row, of those beside it that it takes from, and of its objective's reference."""
    return _state(row.module, getattr(row, "objective", ""))


@functools.cache
def _state(module: str, objective: str) -> str:
    here = vars(sys.modules[module]) if module else {}
    taken = {module, *(getattr(one, "__module__", None) for one in here.values())}
    names = {name for name in taken if isinstance(name, str) and name.startswith("poz.peers.")}
    names -= {"poz.peers._library"}  # which says what a row is, and nothing of a function
    if objective:
        names.add(getattr(reference, objective).__module__)
    return digest(Path(str(sys.modules[name].__file__)) for name in names)
