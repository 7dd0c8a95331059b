"""Runs work on changed copies of the tree, each in a forked process with an end."""

from __future__ import annotations

import compileall
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from changes import ROOT, Mutant

SECONDS = 60  # of a processor
PATIENCE = 10  # times as long by the clock, for what waits
NO_END = -1


class Task(NamedTuple):
    label: str
    work: Callable[[Path], int]  # in the child
    ended: Callable[[int, Path, float], None]
    mutant: Mutant | None = None
    seconds: int = SECONDS


def plain_tree(base: Path) -> None:
    for source, name in (("poz", "poz"), ("reference", "poz/reference"), ("kernels", "poz/kernels")):
        shutil.copytree(ROOT / source, base / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
    compileall.compile_dir(base, quiet=1)


def fork(task: Task, base: Path, tree: Path) -> int:
    """Starts a child on a copy of the tree with one file changed."""
    shutil.copytree(base, tree, copy_function=os.link)
    if task.mutant is not None:
        where = task.mutant.path.relative_to(ROOT)
        target = tree / ("" if where.parts[0] == "poz" else "poz") / where
        for stale in (target, *(target.parent / "__pycache__").glob(f"{target.stem}.*")):
            stale.unlink()
        target.write_text(task.mutant.source(), encoding="utf-8")
    pid = os.fork()
    if pid == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (task.seconds, task.seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = 1
        try:
            out = os.open(tree / "log", os.O_WRONLY | os.O_CREAT)
            os.dup2(out, 1), os.dup2(out, 2)
            sys.path.insert(0, str(tree))
            os.environ["PYTHONPATH"] = str(tree)  # for processes that a test starts
            os.environ["TMPDIR"] = str(tree)
            code = task.work(tree)
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    return pid


def run(tasks: list[Task], jobs: int, folder: Path) -> None:
    """All, `jobs` at a time. A task's `ended` gets the exit code, or NO_END, and the seconds of a processor it took."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    plain_tree(folder / "base")
    waiting, running = [*reversed(tasks)], dict[int, tuple[Task, Path, float]]()
    shown = ("[progress.description]{task.description}", "{task.fields[file]}")
    # No thread of its own to refresh: a lock that it held would stay held in a child.
    with Progress(*map(TextColumn, shown), MofNCompleteColumn(), TimeElapsedColumn(), auto_refresh=False) as progress:
        bar = progress.add_task("mutants", total=len(tasks), file="")
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    task = waiting.pop()
                    tree = folder / str(len(waiting))
                    running[fork(task, folder / "base", tree)] = task, tree, time.monotonic()
                    progress.update(bar, file=task.label)
                time.sleep(0.01)
                for pid, (task, tree, begun) in [*running.items()]:
                    if late := time.monotonic() > begun + PATIENCE * task.seconds:
                        os.killpg(pid, signal.SIGKILL)
                    done, status, used = os.wait4(pid, 0 if late else os.WNOHANG)
                    if not done:
                        continue
                    del running[pid]
                    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
                    code = NO_END if late or killed else os.waitstatus_to_exitcode(status)
                    task.ended(code, tree, used.ru_utime + used.ru_stime)
                    shutil.rmtree(tree, ignore_errors=True)
                    progress.update(bar, advance=1, refresh=True)
        finally:
            for pid in running:
                os.killpg(pid, signal.SIGKILL)
