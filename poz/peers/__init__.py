"""What the loss functions of other libraries are: a file per library, judged by `poz audit`.

    from poz.peers import audit, libraries
    for record in audit(libraries()["TRL"], "ipo"):
        print(record["function"], record["verdict"])

A file says how to call the library's own functions and imports it where it is called; nothing of its code is here. What the
audits found is `poz.peers.results()`, and docs/peers.md.
"""

from __future__ import annotations

import functools
import importlib
import json
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from poz._nearest import Unknown, nearest
from poz.peers._audit import audit as audit
from poz.peers._audit import declared as declared
from poz.peers._library import Absent as Absent
from poz.peers._library import Library as Library
from poz.peers._library import checkout as checkout
from poz.peers._state import state
from poz.peers._topics import TOPICS as TOPICS
from poz.peers._words import described as described
from poz.peers._words import together as together

RESULTS = Path(__file__).with_name("results.json")


class _Libraries(dict[str, Library]):
    def __missing__(self, name: str) -> Library:
        raise Unknown(nearest("library", name, self.keys()))


@functools.cache
def libraries() -> dict[str, Library]:
    """Every library of which something is known here, by name, whether it is installed or not."""
    found = _Libraries()
    for _, module, _ in sorted(pkgutil.iter_modules(__path__), key=lambda one: one[1]):
        if module.startswith("_"):
            continue
        part: Library = importlib.import_module(f"{__name__}.{module}").library
        whole = found.setdefault(part.name, Library(part.name, part.package))
        declares = f"{__name__}.{module}"
        whole.losses += [replace(one, module=declares) for one in part.losses]
        whole.logps += [replace(one, module=declares) for one in part.logps]
        whole.facts += [replace(one, module=declares) for one in part.facts]
    return found


@functools.cache
def results() -> dict[str, Any]:
    """What was found, with the versions it was found in; written by `make audit`.

    A record is `older` where its row's file, what that takes from beside it, or the reference is not as it was, and None is
    known of one without a digest.
    """
    read: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return read | {"records": aged(read["records"])}


def aged(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records, each with whether it is of an `older` state of its files; None where it has no digest."""
    rows: dict[str, list[Any]] = {n: [*one.losses, *one.logps, *one.facts] for n, one in libraries().items()}

    def older(record: dict[str, Any]) -> bool | None:
        if "digest" not in record:
            return None
        library = libraries().get(record["library"])
        said = zip(rows[library.name], declared(library), strict=True) if library else ()
        return not any(record["digest"] == state(row) for row, one in said if one.items() <= record.items())

    return [record | {"older": older(record)} for record in records]
