"""How many mistakes do the tests see? Changes a sign, an operator, a number or a name in a formula and runs them.

    python tests/mutants.py                          every formula: objectives, references and kernel points
    python tests/mutants.py --only dpo kernels/ipo   files of that name, of a folder, or one file
    python tests/mutants.py --sample 100 --seed 3    some of them, drawn

The changed tree is a temporary copy. A process that has imported the libraries forks a child per mutant, which puts
the copy first on its path and runs the tests of that formula. Mutants that mean the same are in mutants.toml.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import copy
import importlib.util
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
KINDS = {
    "poz": [ROOT / "poz/terms.py", *sorted((ROOT / "poz/objectives").glob("[a-z]*.py"))],
    "reference": sorted(path for path in (ROOT / "reference").glob("*.py") if path.stem != "__init__"),
    "kernels": [
        path
        for path in sorted((ROOT / "kernels").glob("*.py"))
        if path.stem == "_maths" or (ROOT / "reference" / path.name).exists()
    ],
}
LAWS = {
    path.name: path.read_text()
    for path in (ROOT / "tests").glob("test_*.py")
    if path.stem in ("test_game_losses", "test_peer_bugs") or (path.stem.endswith("_laws") and path.stem != "test_laws")
}
ENOUGH = 0.95
SECONDS = 180  # the slowest tests of a formula take a tenth of it: more is a loop that does not end
KILLED, ELSEWHERE = 1, 99

BINARY: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
COMPARE: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
NEGATED = {
    "exp", "log1p", "log_sigmoid", "logsumexp", "relu", "sigmoid", "smoothed", "soft_label", "softmax", "softplus",
}  # fmt: skip


class Mutant(NamedTuple):
    """One change; the file as it is has `was` = `now` = ""."""

    path: Path
    line: int
    was: str
    now: str
    nth: int  # of the same changes in this file
    source: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}  {self.was}  ->  {self.now}  ({self.nth})"


def exchanged(name: str) -> str:
    return name.replace("chosen", "rejected") if "chosen" in name else name.replace("rejected", "chosen")


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand instead of a node."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in BINARY:
            yield ast.BinOp(node.left, BINARY[type(node.op)](), node.right)
        if isinstance(node.op, ast.Add | ast.Sub):
            yield node.left
            yield node.right if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in BINARY:
        yield ast.AugAssign(node.target, BINARY[type(node.op)](), node.value)
        yield ast.Pass()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    elif isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            if type(op) in COMPARE:
                ops = [*node.ops[:at], COMPARE[type(op)](), *node.ops[at + 1 :]]
                yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        yield ast.Constant(exchanged(node.value))
    elif isinstance(node, ast.Attribute):
        yield ast.Attribute(node.value, exchanged(node.attr), node.ctx)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield ast.Name(exchanged(node.id), node.ctx)
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        at = 1 if name == "smoothed" else 0
        if name in NEGATED and len(node.args) > at:
            minus = ast.UnaryOp(ast.USub(), node.args[at])
            yield ast.Call(node.func, [*node.args[:at], minus, *node.args[at + 1 :]], node.keywords)


def sites(parent: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node of the formulas below `parent`: no decorators, annotations, docstrings or messages."""
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list") or (field == "func" and isinstance(value, ast.Name)):
            continue
        for at, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            message = isinstance(node, ast.Raise | ast.FormattedValue)
            if isinstance(node, ast.AST) and not (docstring or message):
                yield parent, field, at, node
                yield from sites(node)


def put(parent: ast.AST, field: str, at: int | None, node: ast.AST) -> None:
    if at is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[at] = node


def mutants(path: Path) -> list[Mutant]:
    """The file as it is, then every change of it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = ast.unparse(tree)
    found, seen = [Mutant(path, 0, "", "", 0, plain)], Counter[tuple[str, str]]()
    for parent, field, at, node in list(sites(tree)):
        for changed in changes(node):
            was, now = ast.unparse(node), ast.unparse(ast.fix_missing_locations(copy.deepcopy(changed)))
            if was == now:
                continue
            put(parent, field, at, changed)
            source = ast.unparse(tree)
            put(parent, field, at, node)
            seen[was, now] += 1
            found.append(Mutant(path, getattr(node, "lineno", 0), was, now, seen[was, now], source))
    return found


def stages(path: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """What to run: a test file, an expression that selects tests, and the objectives whose kernels are interpreted."""
    kind = "poz" if path.is_relative_to(ROOT / "poz") else path.parent.name
    name = path.stem
    shared = name.startswith("_") or name == "terms"
    mine = "test" if shared else name
    if kind == "kernels":
        users: tuple[str, ...] = {"dpo": ("dpo", "vpo"), "ipo": ("ipo", "inpo"), "_maths": ("dpo",)}.get(name, (name,))
        known = "hinge_slope or bitwise or no_pairs or need_a_gradient or swapped or several_blocks or upstream"
        for names in [users, ("simpo", "pro", "cpl", "lcpo", "mnpo")][: 2 if shared else 1]:
            own = [f"[{name}{end}" for name in names for end in ("]", "-", ":")] + ["over-vpo]"] * ("vpo" in names)
            mine = f"({' or '.join([*own, known])}) and not twin_equals_reference and not launcher"
            yield "test_kernels.py", mine, names
        return
    yield "test_values.py", "test", ()
    if kind == "reference":
        if shared:
            yield "test_stable.py", "test", ()
        yield "test_reference.py", mine, ()
        yield "test_reference_unknown.py", mine, ()
        yield "test_reference_points.py", "test", ()
        yield "test_spec.py", "same_parameters", ()
        return
    yield "test_spec.py", f"same_parameters and ({mine})", ()
    yield "test_laws.py", f"({mine}) and not jax", ()
    yield "test_errors.py", "not jax", ()
    yield "test_backends.py", f"({mine}) and (numpy or torch or nan_and_inf) and not compile and not jax", ()
    yield "test_theorems.py", mine, ()
    for laws, text in sorted(LAWS.items()):
        if shared or re.search(rf"\b{name}\b", text):
            yield laws, "not jax", ()


class Interpreter:
    """Lets the kernel tests interpret in this process, a few objectives only."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def pytest_collection_finish(self, session: Any) -> None:
        import torch

        tests, empty = session.items[0].module, torch.empty
        names, over = tests.NAMES, tests.OVER

        def here(what: str, *_: object, **__: object) -> object:
            tests.NAMES = self.names
            tests.OVER = {
                key: bound
                for key, bound in over.items()
                if re.split("[:-]", key)[0] in self.names or (key.endswith("over-vpo") and "vpo" in self.names)
            }
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    return tests.interpret()
                finally:
                    torch.empty, tests.NAMES, tests.OVER = empty, names, over

        tests._elsewhere = here


def quick(name: str) -> bool:
    """Whether a kernel agrees with its reference on two small batches: most mutants end here, in half a second."""
    from poz.testing import conform

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return conform(name, backend="triton", dtype="float32", cases=2, size=3).passed


def run_tests(mutant: Mutant, tree: Path) -> int:
    """In the child: 0 if the tests of the formula pass on the changed tree."""
    import pytest

    out = os.open(tree / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1), os.dup2(out, 2)
    sys.path.insert(0, str(tree))
    for name in ("jax", "jax.numpy"):  # some test files import it; what they test with it is not run here
        sys.modules[name] = types.ModuleType(name)
    sys.modules["jax"].numpy, sys.modules["jax"].Array = sys.modules["jax.numpy"], type("Array", (), {})  # type: ignore
    for package in ("poz", "poz.reference", "poz.kernels"):
        found = importlib.util.find_spec(package)
        if found is None or not Path(found.origin or "/").is_relative_to(tree):
            return ELSEWHERE
    options = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-profile=mutants"]
    options += [f"--rootdir={ROOT}", f"-c{ROOT}/pyproject.toml"]
    for file, expression, names in stages(mutant.path):
        plugins = [Interpreter(names)] if names else []
        if names and not all(quick(name) for name in names):
            return KILLED
        code = pytest.main([*options, str(ROOT / "tests" / file), f"-k{expression}"], plugins)
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return KILLED
    return 0


def fork(mutant: Mutant, base: Path, tree: Path) -> int:
    """Starts a child on a copy of the tree with one file changed."""
    shutil.copytree(base, tree, copy_function=os.link)
    where = mutant.path.relative_to(ROOT)
    target = tree / ("" if where.parts[0] == "poz" else "poz") / where
    for stale in (target, *(target.parent / "__pycache__").glob(f"{target.stem}.*")):
        stale.unlink()
    target.write_text(mutant.source, encoding="utf-8")
    pid = os.fork()
    if pid == 0:
        os.setsid()
        code = KILLED
        try:
            code = run_tests(mutant, tree)
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    return pid


def survivors_of(chosen: list[Mutant], jobs: int, folder: Path) -> list[Mutant]:
    """Runs all, `jobs` at a time, and returns those that no test caught."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    base = folder / "base"
    for source, name in (("poz", "poz"), ("reference", "poz/reference"), ("kernels", "poz/kernels")):
        shutil.copytree(ROOT / source, base / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
    compileall.compile_dir(base, quiet=1)
    waiting, running, alive = [*reversed(chosen)], dict[int, tuple[Mutant, Path, float]](), list[Mutant]()
    shown = ("[progress.description]{task.description}", "{task.fields[file]}")
    # No thread of its own to refresh: a lock that it held would stay held in a child.
    with Progress(*map(TextColumn, shown), MofNCompleteColumn(), TimeElapsedColumn(), auto_refresh=False) as progress:
        task = progress.add_task("mutants", total=len(chosen), file="")
        while waiting or running:
            while waiting and len(running) < jobs:
                mutant = waiting.pop()
                tree = folder / str(len(waiting))
                running[fork(mutant, base, tree)] = mutant, tree, time.monotonic() + SECONDS
                progress.update(task, file=str(mutant.path.relative_to(ROOT)))
            time.sleep(0.01)
            for pid, (mutant, tree, deadline) in [*running.items()]:
                if time.monotonic() > deadline:
                    progress.console.print(f"no end in {SECONDS} s, so killed  {mutant}", markup=False, soft_wrap=True)
                    os.killpg(pid, signal.SIGKILL)
                    time.sleep(1)
                done, status = os.waitpid(pid, os.WNOHANG)
                if not done:
                    continue
                del running[pid]
                code = os.waitstatus_to_exitcode(status)
                if code == ELSEWHERE or (code and not mutant.was):
                    for other in running:
                        os.killpg(other, signal.SIGKILL)
                    raise SystemExit(f"{mutant.path} fails as it is:\n" + (tree / "log").read_text()[-4000:])
                if code == 0 and mutant.was:
                    alive.append(mutant)
                    progress.console.print(f"survived  {mutant}", markup=False, highlight=False, soft_wrap=True)
                shutil.rmtree(tree)
                progress.update(task, advance=1, refresh=True)
    return alive


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
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="a name, a folder, or folder/name")
    parser.add_argument("--sample", type=int, metavar="N", help="draw N of the mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--equivalent", action="store_true", help="run those of mutants.toml, which no test may see")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    files = [
        p
        for kind, paths in KINDS.items()
        for p in paths
        if not options.only or {kind, p.stem, f"{kind}/{p.stem}"} & {*options.only}
    ]
    every, equivalent = [mutant for path in files for mutant in mutants(path)], listed_as_equivalent()
    same, changed = [m for m in every if equivalent(m)], [m for m in every if m.was and not equivalent(m)]
    if options.sample:
        changed = random.Random(options.seed).sample(changed, min(options.sample, len(changed)))

    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE"), "1") | {"TRITON_INTERPRET": "1"}
    sys.dont_write_bytecode = True
    for library in ("numpy", "scipy.stats", "mpmath", "torch", "pytest", "hypothesis", "triton"):
        __import__(library)
    import hypothesis

    generate = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # a counterexample need not be small
    hypothesis.settings.register_profile(
        "mutants", deadline=None, derandomize=True, max_examples=25, database=None, phases=generate
    )
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        chosen = same if options.equivalent else changed
        plain = [m for m in every if not m.was and m.path in {other.path for other in chosen}]
        alive = survivors_of([*plain, *chosen], options.jobs, Path(folder))
    print(f"{time.monotonic() - begun:.0f} s")
    if options.equivalent:
        caught = [m for m in same if m not in alive]
        print(*(f"a test fails  {m}" for m in caught), f"{len(same)} equivalent, {len(caught)} wrongly", sep="\n")
        return len(caught) > 0
    for kind, paths in [*KINDS.items(), ("all", files)]:
        these, missed = (sum(m.path in paths for m in some) for some in (changed, alive))
        if these:
            print(f"{kind:10} {1 - missed / these:7.2%}  {these - missed} of {these} killed")
    print(f"{len(same)} more are equivalent")
    return 1 - len(alive) / max(1, len(changed)) < ENOUGH


if __name__ == "__main__":
    sys.exit(main())
