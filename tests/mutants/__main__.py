"""How many mistakes do the tests see? Changes one place of a file, runs the tests that judge it, and counts.

    python tests/mutants                          every formula: objectives, references and kernel points
    python tests/mutants --plumbing --sample 120  what carries them: torch, jax, algorithms, families, batches, kernels
    python tests/mutants --only dpo kernels/ipo   files of that name, of a folder, or one file
    python tests/mutants --sample 100 --seed 3    some of them, drawn

The changed tree is a temporary copy. A process that has imported the libraries forks a child per mutant, which puts
the copy first on its path and runs tests: of a formula those named in formulas.py, elsewhere those that run the line,
which lines.py finds out first. One that takes a minute of a processor has no end: no test sees it. What is known is
kept in .mutants/, so a run that was stopped goes on (--again: asks ten times as many tests about those that none saw,
--fresh: asks about all again). Mutants that mean the same are in mutants.toml.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import random
import shutil
import sys
import tempfile
import time
import tomllib
import traceback
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import changes
import formulas
import lines
import plumbing
import sitecustomize
from changes import ROOT, Mutant
from formulas import Interpreter, quick, stages
from running import NO_END, SECONDS, Task, run

ENOUGH = 0.95
MORE = 10  # times as many tests for what none saw: most of what they take a minute to miss, another sees
KILLED, ELSEWHERE = 1, 99
RESULTS, JUDGES = lines.KEPT / "results.jsonl", lines.KEPT / "judges.json"
OPTIONS = [
    "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-profile=mutants",
    f"--rootdir={ROOT}", f"-c{ROOT}/pyproject.toml",
]  # fmt: skip


def elsewhere(tree: Path) -> bool:
    """Whether a package is not that of the copy."""
    found = [importlib.util.find_spec(package) for package in ("poz", "poz.reference", "poz.kernels")]
    return not all(spec and Path(spec.origin or "/").is_relative_to(tree) for spec in found)


def judge_formula(mutant: Mutant, tree: Path) -> int:
    """In the child: 0 if the tests of the formula pass on the changed tree."""
    import pytest

    for name in ("jax", "jax.numpy"):  # some test files import it; what they test with it is not run here
        sys.modules[name] = types.ModuleType(name)
    sys.modules["jax"].numpy, sys.modules["jax"].Array = sys.modules["jax.numpy"], type("Array", (), {})  # type: ignore
    if elsewhere(tree):
        return ELSEWHERE
    for file, expression, names in stages(mutant.path):
        plugins = [Interpreter(names)] if names else []
        if names and not all(quick(name) for name in names):
            return KILLED
        code = pytest.main(["-x", *OPTIONS, str(formulas.TESTS[file]), f"-k{expression}"], plugins)
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return KILLED
    return 0


def judge(names: list[str], tree: Path, stop: bool = True) -> int:
    """In the child: 0 if these tests pass on the changed tree."""
    import pytest

    if elsewhere(tree):
        return ELSEWHERE
    plugins = [Interpreter(plumbing.NAMES), plumbing.Chosen(names, tree / "by", more=stop)]
    code = pytest.main(["-x"] * stop + [*OPTIONS, *map(str, plumbing.files_of(names))], plugins)
    return KILLED if code else 0


def note(file: Path, out: Path, tree: Path) -> int:
    """In the child: which lines of the tree a test file runs."""
    import pytest

    if elsewhere(tree):
        return ELSEWHERE
    out.unlink(missing_ok=True)
    shutil.copy(sitecustomize.__file__, tree)  # for processes that a test starts
    pytest.main([*OPTIONS, str(file)], [Interpreter(plumbing.NAMES), lines.Lines(tree, out)])
    return 0


def results() -> dict[str, dict[str, Any]]:
    """What is known of mutants, by their key."""
    rows = map(json.loads, RESULTS.read_text(encoding="utf-8").splitlines()) if RESULTS.exists() else ()
    return {row["key"]: row for row in rows}


def keep(mutant: Mutant, result: str, seconds: float = 0.0, by: str = "") -> None:
    row = {"key": mutant.key, "mutant": str(mutant), "result": result, "by": by, "seconds": round(seconds, 1)}
    with RESULTS.open("a", encoding="utf-8") as out:
        print(json.dumps(row), file=out)
    if result not in ("seen", "plain", "again"):
        print(f"{result}  {mutant}", flush=True)


def preload(interpreted: bool, everything: bool) -> None:
    """The libraries that children share, in this process, which has not imported Triton."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE"), "1")
    if interpreted:
        os.environ["TRITON_INTERPRET"] = "1"
    sys.dont_write_bytecode = True
    libraries = ["numpy", "scipy.stats", "mpmath", "torch", "pytest", "hypothesis", "rich.progress"]
    libraries += ["triton"] * interpreted + ["jax.numpy", "flax.nnx", "optax"] * everything
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in libraries + ["trl", "trl.trainer.dpo_trainer"] * (everything and not interpreted):
            if importlib.util.find_spec(library.split(".")[0]):
                __import__(library)
    import hypothesis

    generate = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # a counterexample need not be small
    hypothesis.settings.register_profile(
        "mutants", deadline=None, derandomize=True, max_examples=16, database=None, phases=generate
    )


def apart(interpreted: bool, everything: bool, *stages: Callable[[], list[Task]], jobs: int) -> None:
    """Runs tasks, one stage after another, in a process of its own: Triton decides at import whether it interprets."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            preload(interpreted, everything)
            for stage in stages:
                with tempfile.TemporaryDirectory() as folder:
                    run(stage(), jobs, Path(folder))
            code = 0
        except SystemExit as problem:
            print(problem, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise SystemExit("stopped; what was found is kept in .mutants/")


def formula_tasks(mutants: list[Mutant]) -> list[Task]:
    def ended(mutant: Mutant, code: int, tree: Path, seconds: float) -> None:
        if code == ELSEWHERE or (code not in (0, NO_END) and not mutant.was):
            raise SystemExit(f"{mutant.path} fails as it is:\n" + (tree / "log").read_text()[-4000:])
        result = "no end" if code == NO_END else "seen" if code else "survived" if mutant.was else "plain"
        keep(mutant, result, seconds)

    return [Task(m.path.name, functools.partial(judge_formula, m), functools.partial(ended, m), m) for m in mutants]


def note_lines(jobs: int) -> None:
    """Brings .mutants/lines up to date, files that take long first."""
    (lines.KEPT / "lines").mkdir(parents=True, exist_ok=True)

    def ended(file: Path, partial: Path, code: int, tree: Path, seconds: float) -> None:
        if code == ELSEWHERE:
            raise SystemExit((tree / "log").read_text()[-4000:])
        lines.finished(file, partial, lines.kept(file), tree)
        print(f"lines of {file.name}: {seconds:.0f} s" + (", not to its end" if code == NO_END else ""), flush=True)

    tasks: dict[bool, list[Task]] = {True: [], False: []}
    for file in filter(lambda file: not lines.known(file), lines.test_files()):
        partial = lines.kept(file).with_suffix(".partial")
        work, end = functools.partial(note, file, partial), functools.partial(ended, file, partial)
        tasks[plumbing.interpreted(file)].append(Task(file.name, work, end, None, 150))
    for interpreted, some in tasks.items():
        if some:
            apart(interpreted, True, lambda some=some: some, jobs=jobs)


def judges() -> dict[str, list[str]]:
    """Tests that failed on a mutant: good ones pass on the tree as it is."""
    return json.loads(JUDGES.read_text()) if JUDGES.exists() else {"good": [], "broken": []}


def plumbing_tasks(mutants: list[Mutant], times: int = 1) -> list[Task]:
    tests, tasks = lines.tests_of({*judges()["broken"]}), []

    def ended(mutant: Mutant, code: int, tree: Path, seconds: float) -> None:
        if code == ELSEWHERE:
            raise SystemExit((tree / "log").read_text()[-4000:])
        by = (tree / "by").read_text().split("\n")[0] if (tree / "by").exists() else "import"
        result = "no end" if code == NO_END else "seen" if code else "survived"
        keep(mutant, result, seconds, by if result == "seen" else "")

    for mutant in mutants:
        if names := lines.chosen(mutant, tests, times):
            work, end = functools.partial(judge, names), functools.partial(ended, mutant)
            tasks.append(Task(mutant.path.name, work, end, mutant, times * SECONDS))
        else:
            keep(mutant, "no test runs it")
    return tasks


def as_it_is(mutants: list[Mutant]) -> list[Task]:
    """Runs the tests that saw a mutant without one: what fails there judges nothing."""
    found, known = results(), judges()
    by = {m: found[m.key]["by"] for m in mutants if m.key in found}
    asked = sorted({name for name in by.values() if "::" in name} - {*known["good"]})

    def ended(code: int, tree: Path, _: float) -> None:
        broken = {*known["broken"], *((tree / "by").read_text().splitlines() if (tree / "by").exists() else ())}
        good = {*known["good"], *asked} - broken
        JUDGES.write_text(json.dumps({"good": sorted(good), "broken": sorted(broken)}))
        for mutant in by:
            if by[mutant] in broken:
                print(f"fails as it is: {by[mutant]}")
                keep(mutant, "again")

    return [Task("as it is", functools.partial(judge, asked, stop=False), ended, None, 1800)] * bool(asked)


def listed_as_equivalent() -> Callable[[Mutant], bool]:
    """Whether a mutant is in mutants.toml; a change without a number there stands for all of its kind."""
    listed = tomllib.loads((ROOT / "tests/mutants.toml").read_text(encoding="utf-8"))["equivalent"]
    known = {(entry["file"], *change) for entry in listed for change in entry["changes"]}

    def equivalent(m: Mutant) -> bool:
        place = str(m.path.relative_to(ROOT)), m.was, m.now
        return place in known or (*place, m.nth) in known

    return equivalent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plumbing", action="store_true", help="what carries the formulas instead of the formulas")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="a name, a folder, or folder/name")
    parser.add_argument("--sample", type=int, metavar="N", help="draw N of the mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--equivalent", action="store_true", help="run those of mutants.toml, which no test may see")
    parser.add_argument("--again", action="store_true", help="run those again that no test saw, with more tests")
    parser.add_argument("--fresh", action="store_true", help="run all again")
    parser.add_argument("--lines", action="store_true", help="only note which test runs which line")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    kinds = plumbing.KINDS if options.plumbing else formulas.KINDS
    files = [
        p
        for kind, paths in kinds.items()
        for p in paths
        if not options.only or {kind, p.stem, f"{kind}/{p.stem}"} & {*options.only}
    ]
    kind_of_change = changes.plumbing if options.plumbing else changes.formula
    every, equivalent = [m for path in files for m in changes.mutants(path, kind_of_change)], listed_as_equivalent()
    same, changed = [m for m in every if m.was and equivalent(m)], [m for m in every if m.was and not equivalent(m)]
    if options.sample:
        changed = random.Random(options.seed).sample(changed, min(options.sample, len(changed)))
    chosen = same if options.equivalent else changed

    lines.KEPT.mkdir(exist_ok=True)
    begun, before = time.monotonic(), results()
    settled = () if options.fresh else ("seen", "plain") if options.again else ("seen", "plain", "survived", "no end")
    wanted = [m for m in chosen if before.get(m.key, {}).get("result") not in settled]
    if options.plumbing:
        note_lines(options.jobs)
        if options.lines:
            return 0
        for interpreted in (False, True):
            if some := [m for m in wanted if plumbing.interpreted(m.path) == interpreted]:
                first, then = (
                    functools.partial(plumbing_tasks, some, MORE if options.again else 1),
                    functools.partial(as_it_is, some),
                )
                apart(interpreted, True, first, then, jobs=options.jobs)
    elif wanted:
        plain = [m for m in every if not m.was and m.path in {other.path for other in wanted}]
        apart(True, False, functools.partial(formula_tasks, [*plain, *wanted]), jobs=options.jobs)
    after = results()
    result = {m.key: after.get(m.key, {}).get("result", "again") for m in chosen}
    seen = [m for m in chosen if result[m.key] == "seen"]
    used = lines.processor()
    print(f"{time.monotonic() - begun:.0f} s, {used:.0f} s of a processor: {used / 120:.0f} minutes of two quiet cores")
    if options.equivalent:
        print(*(f"a test fails  {m}" for m in seen), f"{len(same)} equivalent, {len(seen)} wrongly", sep="\n")
        return len(seen) > 0
    print(*sorted(f"{result[m.key]}  {m}" for m in chosen if result[m.key] != "seen"), sep="\n")
    for kind, paths in [*kinds.items(), ("all", files)]:
        these, caught = (sum(m.path in paths for m in some) for some in (chosen, seen))
        if these:
            print(f"{kind:10} {caught / these:7.2%}  {caught} of {these} seen")
    print(f"{len(same)} more are equivalent")
    return len(seen) / max(1, len(chosen)) < ENOUGH


if __name__ == "__main__":
    sys.exit(main())
