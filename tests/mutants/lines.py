"""Which test runs which line, once per test file: kept in .mutants/lines until the file or what it runs changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sitecustomize
from changes import ROOT, Mutant

KEPT = ROOT / ".mutants"
ROWS = 6  # of a test with more parameters, as many are drawn evenly, and all where they are quick
QUICK = 2.0  # seconds for all rows of a test
BUDGET = 60.0  # seconds for one mutant: of a processor, while lines are noted, which takes some three times as long


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else ""


def processor() -> float:
    """Seconds of this process and of those that it waited for: a busy machine does not lengthen them."""
    return sum(os.times()[:4])


class Lines:
    """Pytest's plugin that writes a row per passed test and per shared fixture: its seconds, and its lines."""

    def __init__(self, tree: Path, out: Path) -> None:
        self.tree, self.out, self.others = str(tree) + os.sep, out.open("a"), out.with_suffix(".others")
        self.passed, self.begun = True, processor()
        self.rows, self.took = defaultdict[str, list[Any]](list), defaultdict[str, list[float]](list)

    def write(self, **row: Any) -> None:
        self.out.write(json.dumps(row) + "\n")
        self.out.flush()

    def take(self) -> dict[str, list[int]]:
        """The lines since the last call, this process' and those of processes that it started."""
        found = {*sitecustomize.seen}
        sitecustomize.seen.clear()
        if self.others.exists():
            rows = (row.rsplit("\t", 1) for row in self.others.read_text().splitlines())
            found |= {(row[0], int(row[1])) for row in rows if len(row) == 2}
            self.others.write_text("")
        lines = defaultdict(list)
        for file, line in sorted(found):
            where = file.removeprefix(self.tree)
            top = where.removeprefix("poz/")
            lines[top if top.startswith(("kernels/", "reference/")) else where].append(line)
        return lines

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            self.rows[item.nodeid.split("[")[0]].append(item)
        drawn = {id(some[len(some) * at // ROWS]) for some in self.rows.values() for at in range(ROWS)}
        items.sort(key=lambda item: id(item) not in drawn)
        self.write(part="", seconds=processor() - self.begun, lines={})
        os.environ |= {"POZ_LINES": str(self.others), "POZ_TREE": self.tree.rstrip(os.sep)}
        sitecustomize.start(self.tree.rstrip(os.sep))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        name = item.nodeid.split("[")[0]
        took = self.took[name]
        if len(took) >= ROWS and len(self.rows[name]) * sum(took) / len(took) > QUICK:
            pytest.skip("takes long, and some of its rows have run")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        self.take()
        self.passed, self.shared, begun = True, 0.0, processor()
        result = yield
        lines, seconds = self.take(), processor() - begun - self.shared
        if self.passed:
            self.took[item.nodeid.split("[")[0]].append(seconds)
            self.write(test=item.nodeid, seconds=seconds, parts=item.fixturenames, lines=lines)
        return result

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.passed &= report.outcome == "passed"

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        if fixturedef.scope == "function":
            return (yield)
        before, begun = {*sitecustomize.seen}, processor()
        sitecustomize.seen.clear()
        result = yield
        seconds, lines = processor() - begun, self.take()
        self.shared += seconds
        self.write(part=fixturedef.argname, seconds=seconds, lines=lines)
        sitecustomize.seen.update(before)
        return result


def finished(file: Path, partial: Path, final: Path, tree: Path) -> None:
    """Keeps what was noted, with what it holds for: the files of the copy that was run."""
    rows = [json.loads(row) for row in partial.read_text().splitlines()] if partial.exists() else []
    covered = {path for row in rows for path in row["lines"]}
    of = {path: digest(tree / ("" if path.startswith("poz/") else "poz") / path) for path in sorted(covered)}
    final.write_text(json.dumps({"of": of | {str(file.relative_to(ROOT)): digest(file)}, "rows": rows}))
    for path in (partial, partial.with_suffix(".others")):
        path.unlink(missing_ok=True)


def kept(file: Path) -> Path:
    return KEPT / "lines" / (str(file.relative_to(ROOT)).replace("/", ".") + ".json")


def known(file: Path) -> bool:
    """Whether the lines of a test file were noted and are still those."""
    if not kept(file).exists():
        return False
    return all(digest(ROOT / path) == was for path, was in json.loads(kept(file).read_text())["of"].items())


class Test(NamedTuple):
    name: str
    row: int  # its place among the rows of the same test
    seconds: float
    parts: dict[str, float]  # fixtures that other tests share, and the collection of its file
    ran: dict[str, int]  # by folder, a bit for each line


def test_files() -> list[Path]:
    return sorted((ROOT / "tests").rglob("test_*.py"))


def tests_of(broken: set[str]) -> dict[str, dict[int, list[Test]]]:
    """Tests by file and line."""
    found: dict[str, dict[int, list[Test]]] = defaultdict(lambda: defaultdict(list))
    bits: dict[tuple[str, int], int] = {}
    for file in filter(lambda file: kept(file).exists(), test_files()):
        rows, places = json.loads(kept(file).read_text())["rows"], defaultdict(int)
        shared = {row["part"]: row for row in rows if "part" in row}
        for row in rows:
            if "test" not in row or row["test"] in broken:
                continue
            parts = [shared[name] for name in ["", *row["parts"]] if name in shared]
            name = row["test"].split("[")[0]
            costs = {f"{file.stem}:{part['part']}": part["seconds"] for part in parts}
            lines = {
                (path, number)
                for part in [row, *parts]
                for path, numbers in part["lines"].items()
                for number in numbers
            }
            ran: dict[str, int] = defaultdict(int)
            for line in lines:
                ran[line[0].rpartition("/")[0]] |= 1 << bits.setdefault(line, len(bits))
            test = Test(row["test"], places[name], row["seconds"], costs, ran)
            places[name] += 1
            for path, number in lines:
                found[path][number].append(test)
    return found


def chosen(mutant: Mutant, tests: dict[str, dict[int, list[Test]]], times: int = 1) -> list[str]:
    """Names of tests that run a mutant's line, as many as BUDGET holds, or several of it.

    Next comes what adds most to the lines of the folder run so far, for its seconds; where none adds any, one row of
    each, and quick ones first.
    """
    where = mutant.path.relative_to(ROOT)
    lines, folder = tests.get(str(where), {}), str(where.parent)
    for span in mutant.runs:
        near = {test.name: test for line in lines if line in span for test in lines[line]}
        if near:
            break
    else:
        return []
    left = sorted(near.values(), key=lambda test: (test.row, test.seconds + sum(test.parts.values()) / 4))
    names, paid, total, ran = [], set[str](), 0.0, 0

    def cost(test: Test) -> float:
        fixtures = sum(seconds for part, seconds in test.parts.items() if part not in paid)
        return min(test.seconds + fixtures, BUDGET / 2)  # or no test that takes long would ever be run beside another

    def worth(test: Test) -> float:
        return (test.ran[folder] & ~ran).bit_count() / (0.1 + cost(test))

    while left := [test for test in left if not names or total + cost(test) <= times * BUDGET]:
        best = max(left, key=worth)
        left.remove(best)
        names, total, ran = [*names, best.name], total + cost(best), ran | best.ran[folder]
        paid |= {*best.parts}
    return names
