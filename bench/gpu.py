"""All that only a GPU can show, in one command: `python -m poz.bench.gpu --minutes 8 --json results.json --plot results.png`.

Every Triton kernel, compiled, against float64; then the ceilings and the table of all implementations, the most telling
cases first, as many as fit the time; with --end-to-end also training steps of a transformer, TRL's trainer and ours.
`--check-only` on a machine without a GPU runs the kernels in Triton's interpreter and compiles them ahead of time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
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

from poz.bench import report
from poz.bench.inputs import Inputs, make
from poz.bench.kernel_checks import Check, all_checks
from poz.bench.measure import Measured, timed
from poz.bench.run import aims, broken, gpu_cases, run
from poz.bench.shapes import HEADS, MODES, Case

END_TO_END_MINUTES = 2.5
SANITIZE_MINUTES = 1.5
TOOLS = ("memcheck", "racecheck")


def in_interpreter() -> list[Check]:
    """Kernel checks in a process of its own, for the interpreter must be asked for before Triton is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "poz.bench.kernel_checks"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    return read_checks(done.stdout, done.returncode)


def read_checks(text: str, code: int) -> list[Check]:
    """The checks of another process, and one more that fails where it broke off."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    checks = [Check(line["name"], line["error"], line["limit"], line["problem"]) for line in lines]
    if not checks or (code and all(check.passed for check in checks)):
        checks.append(Check("the process of the checks", float("nan"), 0.0, f"it ended with exit code {code}"))
    return checks


def ahead_of_time(console: Console) -> Check:
    """Compile every kernel for every architecture, against the table of registers, spills and shared memory."""
    command = [sys.executable, "-m", "poz.kernels.ahead_of_time", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    console.print(Text("\n".join(said[-20:])))
    return Check(
        "ahead-of-time compilation", float(done.returncode != 0), 0.0, "" if done.returncode == 0 else said[-1]
    )


def sanitized(seconds: float) -> Iterator[Check]:
    """Small cases of all kernels under compute-sanitizer's memcheck and racecheck."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        yield Check("compute-sanitizer", float("nan"), 0.0, "the program is not on the path")
        return
    for tool in TOOLS:
        command = [program, "--tool", tool, "--error-exitcode", "86", "--target-processes", "all", sys.executable, "-m",
                   "poz.bench.kernel_checks", "--small"]  # fmt: skip
        environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=seconds / len(TOOLS)
            )
        except subprocess.TimeoutExpired:
            yield Check(f"compute-sanitizer {tool}", float("nan"), 0.0, f"not done after {seconds / len(TOOLS):.0f} s")
            continue
        summary = [line for line in done.stdout.splitlines() if "ERROR SUMMARY" in line or "hazard" in line.lower()]
        bad = done.returncode == 86
        yield Check(f"compute-sanitizer {tool}", float(bad), 0.0, " ".join(summary[-1:]) if bad else "")


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """The number that passed, the closest to their limits, and all that failed."""
    failed = [check for check in checks if not check.passed]
    close = sorted((c for c in checks if c.passed and c.limit > 0), key=lambda c: -c.error / c.limit)[:5]
    table = Table("kernel check", Column("error", justify="right"), Column("at most", justify="right"), "")
    for check in [*close, *failed]:
        verdict = Text("passed", style="green") if check.passed else Text(check.problem or "FAILED", style="red")
        table.add_row(check.name, f"{check.error:.1e}", f"{check.limit:.1e}", verdict)
    console.print(table)
    console.print(
        f"{len(checks) - len(failed)} kernel checks passed, {len(failed)} failed; shown: those nearest their limits."
    )


def launch_cost(tokens: int = 512) -> dict[str, Any]:
    """What launches cost where there are few rows: a call as it is against its replay from a CUDA graph, milliseconds."""
    from poz.torch import linear_logps

    found: dict[str, Any] = {}
    for mode in MODES:
        case = Case(HEADS["llama-3-8b"], tokens, 1.0, mode)
        given: Inputs = make(case, "cuda")
        hidden = given.hidden.detach().requires_grad_(mode != "forward")
        weight = given.weight.detach().requires_grad_(mode == "train")
        leaves = [leaf for leaf in (hidden, weight) if leaf.requires_grad]

        def call(
            hidden: Any = hidden, weight: Any = weight, leaves: Any = leaves, given: Any = given, mode: str = mode
        ) -> Any:
            with torch.set_grad_enabled(mode != "forward"):
                made = linear_logps(hidden, weight, given.targets, rows=given.rows)
            return torch.autograd.grad(made, leaves, given.upstream) if leaves else made

        try:
            stream: Any = torch.cuda.Stream
            side = stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    call()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                kept = call()
            pairs = [(timed(call, "cuda"), timed(graph.replay, "cuda")) for _ in range(20)]
            del kept, graph
        except RuntimeError as error:
            found[mode] = {"reason": str(error).partition("\n")[0]}
            torch.cuda.synchronize()
            continue
        found[mode] = {
            name: 1e3 * statistics.median(times)
            for name, times in zip(("call", "replay"), zip(*pairs, strict=True), strict=True)
        }
    return found


def check_only(console: Console) -> int:
    """All checks that this machine can do; 0 where all pass."""
    if torch.cuda.is_available():
        checks = list(all_checks("cuda", True))
    else:
        console.print("No GPU: the kernels run in Triton's interpreter on small sizes, and are compiled ahead of time.")
        checks = in_interpreter()
    checks.append(ahead_of_time(console))
    show_checks(console, checks)
    return int(not all(check.passed for check in checks))


def main(arguments: argparse.Namespace) -> int:
    """Everything, within the time."""
    console = Console(width=None if Console().is_terminal else 150)
    if arguments.check_only:
        return check_only(console)
    if not torch.cuda.is_available():
        console.print("There is no GPU here. --check-only does what can be done without one.", style="red")
        return 2
    begin = time.monotonic()
    end = begin + 60 * arguments.minutes
    checks: list[Check] = []
    if not arguments.no_checks:
        checks = list(all_checks("cuda", True))
        show_checks(console, checks)
    if arguments.sanitize:
        checks += list(sanitized(60 * SANITIZE_MINUTES))
        show_checks(console, checks[-len(TOOLS) :])
    data: dict[str, Any] = {"checks": [{**check._asdict(), "passed": check.passed} for check in checks]}
    console.print(f"Checks took {time.monotonic() - begin:.0f} s.")
    cases = [case for case in gpu_cases() if arguments.only in case.name]
    if arguments.only in "launch":
        data["launch_ms"] = launch_cost()
        console.print(f"Calls on 512 tokens against their replay from a CUDA graph, ms: {data['launch_ms']}")
    reserved = 60 * END_TO_END_MINUTES if arguments.end_to_end else 0.0

    def save(measured: list[Measured], dropped: list[str]) -> None:
        data.update(report.document(measured, dropped, aims(measured, "cuda"), "cuda"))
        if arguments.json is not None:
            report.write(arguments.json, data)

    minutes = max(0.0, end - reserved - time.monotonic()) / 60
    measured, dropped = run(
        cases,
        device="cuda",
        seconds=arguments.seconds,
        minutes=minutes,
        console=console,
        after=lambda done: save(done, []),
    )
    console.print(report.LEGEND, style="dim")
    if dropped:
        console.print(f"Dropped for lack of time, {len(dropped)} cases: {', '.join(dropped)}.", style="yellow")
    report.show_aims(console, aims(measured, "cuda"))
    if arguments.end_to_end:
        from poz.bench.end_to_end import compare, show

        data["end_to_end"] = compare("cuda", end - time.monotonic())
        show(console, data["end_to_end"])
    save(measured, dropped)
    if arguments.plot is not None and measured:
        report.draw(arguments.plot, measured)
    console.print(f"{time.monotonic() - begin:.0f} s in all.")
    return int(not all(check.passed for check in checks) or any(broken(one) for one in measured))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m poz.bench.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check-only", action="store_true", help="kernels only; without a GPU interpreted and compiled"
    )
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="for everything; the least important cases are dropped"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="for the timing of one case")
    parser.add_argument("--json", type=Path, help="write every number here, again after each case")
    parser.add_argument("--plot", type=Path, help="write the picture here, a PNG")
    parser.add_argument("--only", default="", help="keep the cases whose name contains this")
    parser.add_argument("--no-checks", action="store_true", help="leave out the kernel checks")
    parser.add_argument("--sanitize", action="store_true", help="also run small cases under compute-sanitizer")
    parser.add_argument("--end-to-end", action="store_true", help="also training steps of a 1 B transformer; needs TRL")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main(parse()))
