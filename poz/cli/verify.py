"""poz verify: every backend, in a process of its own, against the references."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

import poz
from poz._nearest import nearest
from poz._versions import versions
from poz.cli import screen
from poz.cli.screen import STDOUT, Names, check_report, check_seed, find, say, stop, write

EVERY = 10.0  # seconds between two lines of progress, where there is no terminal to draw a bar on


def verify(
    names: Names = None,
    report: Annotated[
        Path | None, typer.Option("--json", help="Write every result here; - is standard output.")
    ] = None,
    cases: Annotated[
        int, typer.Option(min=1, help="Draws of inputs and hyper-parameters per objective and backend.")
    ] = 8,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    backend: Annotated[list[str] | None, typer.Option(help="Only these backends.")] = None,
) -> None:
    """Every backend against the float64 reference, on drawn inputs and hyper-parameters; exit 1 on a miss."""
    from poz.testing import BACKENDS, missing, refusal, runs

    check_seed(seed)
    chosen = list(dict.fromkeys(spec.name for spec in (find(names) if names else poz.zoo.values())))
    backends = list(dict.fromkeys(backend or BACKENDS))
    unknown = sorted(set(backends) - set(BACKENDS))
    if unknown:
        stop(nearest("backend", unknown[0], BACKENDS))
    check_report(report)
    console = Console(stderr=True) if report == STDOUT else screen.out
    lacking = {name: why for name in backends if (why := missing(name))}
    if backend and lacking:
        stop(next(iter(lacking.values())))
    for why in lacking.values():
        say(f"{why} It is left out.", console)
    backends = [name for name in backends if name not in lacking]
    total = sum(runs(name, one) for name in chosen for one in backends)
    results: list[dict[str, Any]] = []
    try:
        for result in _watched(backends, chosen, cases, seed, total):
            results.append(result)
    except KeyboardInterrupt:
        say(f"Stopped; {len(results)} of {total} are finished.", console)
    found = {(r["objective"], r["backend"]): r for r in results}
    rows = [[Text(name), *(_cell(found.get((name, one))) for one in backends)] for name in chosen]
    screen.table(("objective", *backends), rows, console)
    say("worst loss error / worst gradient error; –: not run there", console)
    for name, one in itertools.product(chosen, backends):
        if why := refusal(name, one):
            say(f"{name} is not run on {one}: {why}.", console)
    missed = [r for r in results if not r["passed"]]
    for result in missed:
        say(f"{result['objective']} on {result['backend']}: {result['problem']}", console, "red")
        for what in ("inputs", "again"):
            console.print(Text(f"  {what}: {result[what]}"), soft_wrap=True)
    say(f"{len(results) - len(missed)} passed, {len(missed)} failed", console)
    if report is not None:
        head = {"versions": versions(), "cases": cases, "seed": seed, "finished": len(results) == total}
        write(report, json.dumps({**head, "results": results}, indent=1) + "\n")
    raise typer.Exit(130 if len(results) < total else bool(missed) or not results)


def _watched(backends: list[str], names: list[str], cases: int, seed: int, total: int) -> Iterator[dict[str, Any]]:
    """All results, with progress on standard error: a bar, or a line now and then."""
    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    begin = said = time.monotonic()
    done = 0
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("verify", total=total)
        for backend in backends:
            for result in _in_process(backend, names, cases, seed):
                done += 1
                progress.update(task, advance=1, description=f"{result['objective']} on {backend}")
                now = time.monotonic()
                if not console.is_terminal and now - said >= EVERY:
                    said = now
                    console.print(f"{done} of {total}, {result['objective']} on {backend}, {now - begin:.0f} s")
                yield result


def _in_process(backend: str, names: list[str], cases: int, seed: int) -> Iterator[dict[str, Any]]:
    """Results of one backend from a process of its own: Triton's interpreter must be chosen before it is imported."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONSAFEPATH": "1"}
    if backend == "triton" and not _has_gpu():
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "poz.testing.worker", backend, str(cases), str(seed), *names]
    # Of its own session, so that Ctrl-C is for this process alone, which keeps what is finished.
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield json.loads(line)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        stop(f"The {backend} worker ended with exit code {process.returncode}; its message is above.")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _cell(result: dict[str, Any] | None) -> Text:
    if result is None:
        return Text("–")
    if result["loss_error"] is None:
        return Text("raised", style="red")
    gradient = "" if result["gradient_error"] is None else f" / {result['gradient_error']:.0e}"
    return Text(f"{result['loss_error']:.0e}{gradient}", style="green" if result["passed"] else "red")
