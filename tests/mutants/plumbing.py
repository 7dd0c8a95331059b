"""What carries formulas about: its files, and the tests of a mutant, which run its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from changes import ROOT
from formulas import KINDS as FORMULAS
from formulas import SHARED
from lines import processor

NAMES = (*SHARED, "tpo")  # which is a twin alone, and needs lists of one length
ROWS_UNTIL = 40.0  # seconds of a processor

# What a scored batch is made with, wherever it lies.
BATCHES = ("scored.py", "annotators.py", "columns.py", "combination.py", "preferences.py")
TAKEN = {path for paths in FORMULAS.values() for path in paths}


def below(*patterns: str) -> list[Path]:
    """Files that are no formula's and in no kind before."""
    found = sorted({path for pattern in patterns for path in ROOT.glob(pattern)} - TAKEN)
    TAKEN.update(found)
    return found


KINDS = {
    "batches": below(*(f"poz/**/{name}" for name in BATCHES)),
    "families": below("poz/families.py", "poz/families/**/*.py"),
    "torch": below("poz/torch/**/*.py"),
    "jax": below("poz/jax/**/*.py"),
    "algorithms": below("poz/algorithms/**/*.py"),
    "kernels": below("kernels/**/*.py"),
}


def interpreted(path: Path) -> bool:
    """Whether the tests of this file run Triton's interpreter in their own process: kernels, and what tests them.

    Not what compiles them.
    """
    return (path.is_relative_to(ROOT / "kernels") and path.stem != "ahead_of_time") or (
        path.is_relative_to(ROOT / "tests") and "def _elsewhere(" in path.read_text(encoding="utf-8")
    )


class Chosen:
    """Pytest's plugin that runs the named tests, then `more` rows of the same ones while there is time.

    Writes which failed.
    """

    def __init__(self, names: list[str], out: Path, more: bool) -> None:
        self.places, self.out, self.more = {name: at for at, name in enumerate(names)}, out, more

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        bases = {name.split("[")[0] for name in self.places}
        others = [i for i in items if i.nodeid not in self.places and i.nodeid.split("[")[0] in bases]
        named = [item for item in items if item.nodeid in self.places]
        files: dict[str, int] = {}
        for name, at in self.places.items():
            files.setdefault(name.split("::")[0], at)
        named.sort(key=lambda item: (files[item.nodeid.split("::")[0]], self.places[item.nodeid]))
        items[:] = named + others * self.more

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> bool | None:
        return True if item.nodeid not in self.places and processor() > ROWS_UNTIL else None

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.outcome == "failed":
            with self.out.open("a") as out:
                print(report.nodeid, file=out)


def files_of(names: list[str]) -> Iterator[Path]:
    for name in dict.fromkeys(name.split("::")[0] for name in names):
        yield ROOT / name
