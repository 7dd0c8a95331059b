"""All that only a GPU can show, in one command: `python -m poz.bench.gpu --minutes 8 --json results.json`.

The parts run one after the other, each in processes of its own, so that one that breaks or hangs takes nothing of the others
along; the JSON is written again after every result. First every Triton kernel, compiled, against float64; then what is asked
for of compute-sanitizer, the table of all implementations (the most telling cases first, as many as fit the time), what tuning
could bring, and training steps of a transformer. `--check-only` on a machine without a GPU runs the kernels in Triton's
interpreter and compiles them ahead of time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from poz.bench import jobs, report
from poz.bench.jobs import Check, failed
from poz.bench.kernel_checks import jobs as kernel_jobs
from poz.bench.measure import measure
from poz.bench.peers import PEERS
from poz.bench.run import aims, broken, gpu_cases

PARTS = {"checks": 150, "sanitize": 210, "table": 240, "tune": 100, "end-to-end": 200}
"""All parts in order, and the seconds that the parts before leave to each."""
USUAL = ("checks", "table")
LEAST = 20
"""Seconds under which a part is not begun."""
WORKERS = 8
SANITIZED = 4
"""Processes at a time, as they are and under compute-sanitizer, which has ten ports for those it watches."""
TOOLS = ("memcheck", "racecheck")
BLAMED = 75
"""Exit code of a table's process whose GPU context an implementation has broken; a fresh one goes on without it."""


class Broken(Exception):
    """An implementation left the GPU's context unusable."""


def checks(seconds: float) -> Iterator[Check]:
    """Every kernel as it runs on the GPU."""
    yield from jobs.run(list(kernel_jobs(True)), seconds=seconds, workers=WORKERS, environment={"OMP_NUM_THREADS": "2"})


def in_interpreter(seconds: float = 540) -> Iterator[Check]:
    """Small sizes in Triton's interpreter, which must be asked for before Triton is imported."""
    environment = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    workers = min(2, os.cpu_count() or 1)
    yield from jobs.run(list(kernel_jobs(False)), seconds=seconds, workers=workers, environment=environment)


def ahead_of_time(console: Console) -> Check:
    """Compile every kernel for every architecture, against the table of registers, spills and shared memory."""
    command = [sys.executable, "-m", "poz.kernels.ahead_of_time", "--check"]
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    said = (done.stdout.strip() or done.stderr.strip()).splitlines() or ["nothing was said"]
    console.print(Text("\n".join(said[-20:])))
    return Check(
        "ahead-of-time compilation", float(done.returncode != 0), 0.0, "" if done.returncode == 0 else said[-1]
    )


def sanitized(seconds: float) -> Iterator[Check]:
    """Small cases of all kernels under compute-sanitizer's memcheck, then racecheck; our kernels alone are watched."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        yield failed("compute-sanitizer", "not run: the program is not on the path")
        return
    from poz.kernels.ahead_of_time import cases

    names = ",".join(sorted({f"kns={case.kernel.__name__}" for case in cases()}))
    common = [
        program,
        "--error-exitcode",
        str(jobs.FINDINGS),
        "--target-processes",
        "application-only",
        "--report-api-errors",
        "no",
    ]
    probe = [*common, "--require-cuda-init", "no", "--kernel-name", names, sys.executable, "-c", "pass"]
    watched = ["--kernel-name", names] if subprocess.run(probe, capture_output=True).returncode == 0 else []
    end = time.monotonic() + seconds
    for left, tool in zip((2, 1), TOOLS, strict=True):
        share = (end - time.monotonic()) / left
        found = jobs.run(
            list(kernel_jobs(False)), seconds=share, workers=SANITIZED, small=True, prefix=[*common, *watched, "--tool", tool],
            environment={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        )  # fmt: skip
        for check in found:
            yield check._replace(name=f"{tool}: {check.name}")


def show_checks(console: Console, found: Sequence[Check]) -> None:
    """The number that passed, the closest to their limits, and those that failed, with the first of each reason."""
    bad = [check for check in found if not check.passed]
    close = sorted((c for c in found if c.passed and c.limit > 0), key=lambda c: -c.error / c.limit)[:5]
    table = Table("kernel check", Column("error", justify="right"), Column("at most", justify="right"), "")
    for check in [*close, *bad[:25]]:
        verdict = Text("passed", style="green") if check.passed else Text(check.problem or "FAILED", style="red")
        table.add_row(check.name, f"{check.error:.1e}", f"{check.limit:.1e}", verdict)
    console.print(table)
    console.print(
        f"{len(found) - len(bad)} kernel checks passed, {len(bad)} failed; shown: those nearest their limits."
    )


def check_part(console: Console, path: Path, key: str, found: Iterator[Check]) -> bool:
    """Collect checks, write them as they come, show them; whether all passed."""
    done: list[Check] = []
    written = time.monotonic()
    for check in found:
        done.append(check)
        if time.monotonic() - written > 5:
            _write_checks(path, key, done)
            written = time.monotonic()
    _write_checks(path, key, done)
    show_checks(console, done)
    return all(check.passed for check in done)


def _write_checks(path: Path, key: str, done: Sequence[Check]) -> None:
    report.update(path, **{key: [{**check._asdict(), "passed": check.passed} for check in done]})


def table(console: Console, path: Path, end: float, seconds: float, only: str) -> int:
    """The cases that are not in the file yet, each written when it is done."""
    known = json.loads(path.read_text())
    measured = report.load(known.get("cases", []))
    blamed, lost = list(known.get("blamed", [])), dict(known.get("lost", {}))
    peers = [peer for peer in PEERS if [peer.name, peer.library] not in blamed]
    past = {one.name for one in measured} | set(lost)
    cases = [case for case in gpu_cases() if only in case.name and case.name not in past]
    longest = 0.0
    for number, case in enumerate(cases):
        begin = time.monotonic()
        if end - begin < max(longest, LEAST if number else 0.0):
            break
        at = [""]

        def tell(text: str, at: list[str] = at) -> None:
            if not _healthy():
                raise Broken(at[0])
            at[0] = text.partition(": ")[2]

        code = 0
        try:
            measured.append(measure(case, peers, "cuda", seconds, tell=tell))
            report.show(console, measured[-1])
        except Broken:
            blamed.append([at[0], case.library])
            console.print(
                Text(f"{case.name}: {at[0]} broke the GPU's context and is left out from here on.", style="red")
            )
            code = BLAMED
        except Exception as error:  # one case that breaks is a result, and no reason to stop
            lost[case.name] = f"{at[0]}: {type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
            console.print(Text(f"{case.name}: {lost[case.name]}", style="red"))
            code = 0 if _healthy() else BLAMED
        remaining = [other.name for other in cases[number + (code != BLAMED) :] if other.name not in lost]
        document = report.document(measured, remaining, aims(measured, "cuda"), "cuda")
        del document["command"]
        report.update(path, **document, blamed=blamed, lost=lost)
        if code:
            return code
        torch.cuda.empty_cache()
        longest = max(longest, time.monotonic() - begin)
    return int(any(broken(one) for one in measured) or bool(lost) or bool(blamed))


def _healthy() -> bool:
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def tune_part(console: Console, path: Path, end: float) -> int:
    """What tuning could bring."""
    from poz.bench.tune import tune

    known: dict[str, Any] = {}

    def tell(name: str, rows: list[dict[str, Any]]) -> None:
        known[name] = rows
        report.update(path, tune=known)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        shown = Table(*columns, title=name, title_justify="left")
        for row in rows:
            cells = [row.get(key, "") for key in columns]
            shown.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells))
        console.print(shown)

    tune(end, tell)
    return 0


def end_to_end_part(console: Console, path: Path, end: float) -> int:
    """Training steps of TRL's trainer and ours."""
    from poz.bench.end_to_end import compare, show

    found = compare("cuda", end - time.monotonic(), after=lambda rows: report.update(path, end_to_end=rows))
    report.update(path, end_to_end=found)
    show(console, found)
    return 0


def check_only(console: Console, path: Path | None) -> int:
    """All checks that this machine can do; 0 where all pass."""
    if torch.cuda.is_available():
        found = list(checks(PARTS["checks"] * 3))
    else:
        console.print("No GPU: the kernels run in Triton's interpreter on small sizes, and are compiled ahead of time.")
        found = list(in_interpreter())
    found.append(ahead_of_time(console))
    if path is not None:
        _write_checks(path, "checks", found)
    show_checks(console, found)
    return int(not all(check.passed for check in found))


def one_part(arguments: argparse.Namespace, console: Console) -> int:
    """A part in this process."""
    end = time.monotonic() + 60 * arguments.minutes
    if arguments.process == "table":
        return table(console, arguments.json, end, arguments.seconds, arguments.only)
    return {"tune": tune_part, "end-to-end": end_to_end_part}[arguments.process](console, arguments.json, end)


def in_process(part: str, arguments: argparse.Namespace, end: float) -> str:
    """Run a part in a process of its own, again where an implementation broke the context; what there is to say about it."""
    begun = 0
    while (left := end - time.monotonic()) > LEAST:
        begun += 1
        command = [sys.executable, "-W", "ignore", "-m", "poz.bench.gpu", "--process", part, "--minutes", str(left / 60),
                   "--seconds", str(arguments.seconds), "--only", arguments.only, "--json", str(arguments.json)]  # fmt: skip
        process = subprocess.Popen(command, start_new_session=True)
        try:
            code = process.wait(left + LEAST / 2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return "ended: out of time; what it had written stands"
        if code in (0, 1):
            return "" if code == 0 else "something in it failed, see there"
        if code != BLAMED or begun > len(PEERS):
            return f"ended with exit code {code}; what it had written stands"
    return "out of time" if begun else "not begun: out of time"


def everything(arguments: argparse.Namespace, console: Console) -> int:
    """The parts that are asked for, within the time."""
    begin = time.monotonic()
    end = begin + 60 * arguments.minutes
    path: Path = arguments.json
    wanted = [part for part in PARTS if part in arguments.parts]
    parts: dict[str, dict[str, Any]] = {part: {"status": "not begun"} for part in wanted}
    report.write(path, {**report.document([], [], [], "cuda"), "parts": parts})
    for number, part in enumerate(wanted):
        started = time.monotonic()
        left = end - started - sum(PARTS[later] for later in wanted[number + 1 :])
        if left < LEAST:
            left = min(PARTS[part], end - started)
        console.rule(f"{part}, {left:.0f} s at most")
        try:
            if left < LEAST:
                problem = "not begun: out of time"
            elif part in ("checks", "sanitize"):
                found = checks(left) if part == "checks" else sanitized(left)
                problem = "" if check_part(console, path, part, found) else "not all passed"
            else:
                problem = in_process(part, arguments, started + left)
        except Exception as error:  # a part that breaks is a result, and no reason to stop
            problem = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
        parts[part] = {"status": problem or "done", "seconds": round(time.monotonic() - started, 1)}
        report.update(path, parts=parts)
    summary(console, path)
    console.print(f"{time.monotonic() - begin:.0f} s in all. Wrote {path}")
    return int(any(part["status"] != "done" for part in parts.values()))


def summary(console: Console, path: Path) -> None:
    """What it came to, last, where it is read first."""
    known = json.loads(path.read_text())
    measured = report.load(known["cases"])
    console.rule("summary")
    for key in ("checks", "sanitize"):
        found = [
            Check(**{**{k: check[k] for k in Check._fields}, "error": _nan(check["error"])})
            for check in known.get(key, [])
        ]
        bad = [check for check in found if not check.passed]
        if found:
            console.print(f"{key}: {len(found) - len(bad)} passed, {len(bad)} failed")
        for check in bad[:8]:
            console.print(
                Text(f"  {check.name}: {check.problem or f'{check.error:.1e} > {check.limit:.1e}'}", style="red")
            )
    if measured:
        console.print(report.LEGEND, style="dim")
        report.show_aims(console, aims(measured, "cuda"))
    for name, reason in known.get("lost", {}).items():
        console.print(Text(f"lost: {name}: {reason}", style="red"))
    for name, library in known.get("blamed", []):
        console.print(Text(f"left out, for it broke the GPU's context: {name} ({library})", style="red"))
    if known["dropped"]:
        console.print(f"Dropped for lack of time: {len(known['dropped'])} cases, from {known['dropped'][0]} on.")
    for part, about in known["parts"].items():
        console.print(f"{part}: {about['status']}, {about.get('seconds', 0):.0f} s")


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m poz.bench.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check-only", action="store_true", help="kernels only; without a GPU interpreted and compiled"
    )
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=USUAL, help="what to do, in this order")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything; what does not fit is named")
    parser.add_argument("--seconds", type=float, default=3.0, help="for the timing of one case")
    parser.add_argument("--json", type=Path, help="write every number here, again after each result")
    parser.add_argument("--plot", type=Path, help="write the picture here, a PNG")
    parser.add_argument("--only", default="", help="keep the cases of the table whose name contains this")
    parser.add_argument("--process", choices=("table", "tune", "end-to-end"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main(arguments: argparse.Namespace) -> int:
    """Everything, within the time."""
    os.environ["PYTHONSAFEPATH"] = (
        "1"  # the processes started from here: a checkout's folders are no packages of that name
    )
    console = Console(width=None if Console().is_terminal else 150)
    if arguments.check_only:
        return check_only(console, arguments.json)
    if not torch.cuda.is_available():
        console.print("There is no GPU here. --check-only does what can be done without one.", style="red")
        return 2
    if arguments.process:
        return one_part(arguments, console)
    if arguments.json is None:
        arguments.json = Path("gpu.json")
    code = everything(arguments, console)
    if arguments.plot is not None:
        report.draw(arguments.plot, report.load(json.loads(arguments.json.read_text())["cases"]))
    return code


if __name__ == "__main__":
    raise SystemExit(main(parse()))
