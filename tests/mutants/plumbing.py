"""What carries formulas about: its files, and the tests of a mutant, which run its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from changes import ROOT
from formulas import KINDS as FORMULAS

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
    """Whether the tests of this file run Triton's interpreter in their own process: kernels, and what tests them."""
    return path.is_relative_to(ROOT / "kernels") or (
        path.is_relative_to(ROOT / "tests") and "def _elsewhere(" in path.read_text(encoding="utf-8")
    )


class Chosen:
    """Pytest's plugin that keeps the named tests, in that order within each file, and writes which failed."""

    def __init__(self, names: list[str], out: Path) -> None:
        self.places, self.out = {name: at for at, name in enumerate(names)}, out

    def pytest_collection_modifyitems(self, items: list) -> None:
        files: dict[str, int] = {}
        for name, at in self.places.items():
            files.setdefault(name.split("::")[0], at)
        mine = [item for item in items if item.nodeid in self.places]
        items[:] = sorted(mine, key=lambda item: (files[item.nodeid.split("::")[0]], self.places[item.nodeid]))

    def pytest_runtest_logreport(self, report: object) -> None:
        if report.outcome == "failed":  # type: ignore[attr-defined]
            with self.out.open("a") as out:
                print(report.nodeid, file=out)  # type: ignore[attr-defined]


def files_of(names: list[str]) -> Iterator[Path]:
    for name in dict.fromkeys(name.split("::")[0] for name in names):
        yield ROOT / name
