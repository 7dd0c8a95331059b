"""One run: every implementation on every case, gated, timed in turn, compared. `poz bench` or `python -m poz.bench.run`."""
# ruff: noqa: E402 - what is missing is said before anything fails

from __future__ import annotations

import argparse
import functools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from poz._extras import require

require("poz.bench.run", "bench", "rich")

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from poz.bench import report
from poz.bench.measure import Measured, Row, gradient_bytes, measure
from poz.bench.peers import PEERS, Peer
from poz.bench.report import Aim
from poz.bench.shapes import CPU_HEADS, HEADS, MODES, TOKENS, VALID, Case, Head

QUICK = ("poz", "naive", "trl", "poz dapo", "liger dapo", "trl logits")
"""Who takes part in a quick run; the others are named as not asked for."""
QUICK_MINUTES = 2.4
FIXED = Case(CPU_HEADS["fixed"], 32, 1.0, "train", "float32")
"""A call that is all overhead."""


def quick_cases() -> list[Case]:
    """What the CPU aims are stated for."""
    head = CPU_HEADS["reach"]
    return [
        Case(head, 1024, 1.0, "train", "float32"),
        Case(head, 1024, 1.0, "frozen", "float32"),
        Case(head, 1024, 1.0, "train", "bfloat16"),
        Case(head, 1024, 1.0, "train", "float32", objective="dapo"),
        Case(head, 1024, 1.0, "train", "float32", "jax"),
        FIXED,
    ]


def cpu_cases() -> list[Case]:
    """All cases for two cores."""
    head = CPU_HEADS["reach"]
    torch_cases = [Case(head, 1024, 1.0, mode, dtype) for mode in MODES for dtype in ("float32", "bfloat16")]
    parts = [Case(head, 1024, share, "train", "float32") for share in VALID if share < 1]
    odd = [Case(CPU_HEADS["narrow"], 2048, 1.0, "train", "float32")]
    of_dapo = ((1.0, "float32"), (0.5, "float32"), (1.0, "bfloat16"))
    odd += [Case(head, 1024, share, "train", dtype, objective="dapo") for share, dtype in of_dapo]
    return [*torch_cases, *parts, *odd, FIXED, *(Case(head, 1024, 1.0, mode, "float32", "jax") for mode in MODES)]


def gpu_cases() -> list[Case]:
    """All cases for a GPU, the most telling first, so that a short run drops the others."""

    def modes(name: str, tokens: int, share: float = 1.0, library: str = "torch") -> list[Case]:
        return [Case(HEADS[name], tokens, share, mode, "bfloat16", library) for mode in MODES]

    names = list(HEADS)
    first = [
        *modes("llama-3-8b", 8192), *modes("qwen3-0.6b", 8192), *modes("llama-3-8b", 2048),
        Case(HEADS["llama-3-8b"], 8192, 1.0, "train", "bfloat16", objective="dapo"),
        *modes("llama-3-8b", 8192, 1.0, "jax"), *modes("gemma-2-9b", 8192), *modes("qwen2.5-7b", 8192),
        *modes("llama-3-8b", 8192, 0.5), *modes("llama-3-8b", 512), *modes("llama-3-8b", 32768), *modes("qwen3-0.6b", 2048),
    ]  # fmt: skip
    rest = [
        case for share in reversed(VALID) for tokens in (8192, 2048, 32768, 512) for name in names
        for case in modes(name, tokens, share)
    ]  # fmt: skip
    assert {case.tokens for case in rest} == set(TOKENS)
    return list(dict.fromkeys([*first, *rest]))


def run(
    cases: Sequence[Case], peers: Sequence[Peer] = PEERS, device: str = "cpu", seconds: float | None = 20.0,
    minutes: float = math.inf, clock: str = "wall", console: Console | None = None,
    after: Callable[[list[Measured]], None] = lambda measured: None,
) -> tuple[list[Measured], list[str]]:  # fmt: skip
    """Measure cases in order until the time is used up.

    Args:
        cases: Most important first.
        peers: Who takes part.
        device: "cpu" or "cuda".
        seconds: For the timing of one case; None divides `minutes` among all cases instead, and drops none.
        minutes: For all of it; a case is begun while the longest so far would still fit.
        clock: "wall" or "cpu", see `measure`.
        console: Prints each case as it is done.
        after: Is given all that was measured so far, after each case.

    Returns:
        What was measured, and the names of the cases that were dropped.
    """
    begin, longest = time.monotonic(), 0.0
    measured: list[Measured] = []
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(cases))
        for number, case in enumerate(cases):
            now = time.monotonic()
            left = begin + 60 * minutes - now
            if seconds is not None and left < longest:
                return measured, [case.name for case in cases[number:]]
            until = now + left / (len(cases) - number) if seconds is None else None
            tell = functools.partial(_tell, progress, task)
            measured.append(measure(case, peers, device, seconds or 0.0, until, clock, tell))
            longest = max(longest, time.monotonic() - now)
            progress.advance(task)
            after(measured)
            if console is not None:
                report.show(console, measured[-1])
            if device == "cuda":
                torch.cuda.empty_cache()
    return measured, []


def _tell(progress: Progress, task: TaskID, text: str) -> None:
    progress.update(task, description=text)


def aims(measured: Iterable[Measured], device: str) -> list[Aim]:
    """The ratios that the project is held to, for the cases at hand."""
    found: list[Aim] = []
    for one in measured:
        case = one.case
        if device == "cuda":
            found += _gpu_aims(one, Head(**case["head"]), case["mode"], case["library"])
            continue
        if case["head"]["name"] == "fixed":
            found.append(_ratio(one, one.row("poz"), one.row("naive"), 2.5))
        if case["head"]["name"] != "reach" or case["valid"] != 1:
            continue
        kind = (case["mode"], case["dtype"], case["library"])
        if case["objective"] == "dapo":
            for rival, limit in (("trl", 0.50), ("liger dapo", 0.60)):
                found.append(_ratio(one, one.row("poz dapo"), one.row(rival), limit))
            continue
        for rival, limit in _CPU_AIMS.get(kind, {}).items():
            found.append(_ratio(one, one.row("poz"), one.row(rival), limit))
        if kind == ("train", "float32", "jax"):
            found.append(_ratio(one, one.row("poz"), one.row("naive"), 0.25, memory=True))
        if (row := one.row("poz")) is not None and case["library"] == "torch":
            rms = row.errors["rms"]
            found.append(Aim(f"{one.name}: log-prob rms error", math.nan if rms is None else rms, 1e-5, "nats"))
    return found


_CPU_AIMS = {
    ("train", "float32", "torch"): {"trl": 0.50, "naive": 0.85},
    ("frozen", "float32", "torch"): {"trl": 0.35, "naive": 0.85},
    ("train", "bfloat16", "torch"): {"trl": 0.60},
    ("train", "float32", "jax"): {"naive": 0.90},
}
_FLOOR_AIMS = {"train": (1.08, 1.30), "frozen": (1.10, 1.30), "forward": (1.08, 1.20)}
"""Over the floor, at a hidden size of 3584 and more, and at 1024."""


def _gpu_aims(one: Measured, head: Head, mode: str, library: str) -> list[Aim]:
    ours = [
        row for row in one.rows if row.peer.startswith("poz") and row.peer != "poz fast" and row.status == "measured"
    ]
    best = min(ours, key=lambda row: row.p50, default=None)
    if best is None or library != "torch":
        return []
    limit = _FLOOR_AIMS[mode][head.hidden < 3584]
    found = [Aim(f"{one.name}: {best.peer} / floor", best.to_floor or math.nan, limit, _milliseconds(best))]
    if mode != "forward":
        found.append(_ratio(one, best, one.row("trl"), 0.80 if mode == "train" else 0.74))
    return found


def _ratio(one: Measured, ours: Row | None, theirs: Row | None, limit: float, memory: bool = False) -> Aim:
    rival = "?" if theirs is None else theirs.peer
    text = f"{one.name}: {'?' if ours is None else ours.peer} / {rival}" + ", memory" * memory
    if ours is None or theirs is None:
        return Aim(text, math.nan, limit, "no number for one of them, see above")
    if memory:
        results = gradient_bytes(
            Case(**{key: one.case[key] for key in Case._fields} | {"head": Head(**one.case["head"])})
        )
        mine, other = (((row.peak_bytes or 0) - results) / 2**20 for row in (ours, theirs))
        detail = f"{mine:.0f} / {other:.0f} MiB beside the results"
        return Aim(text, mine / other if other else math.nan, limit, detail)
    return Aim(text, ours.p50 / theirs.p50, limit, f"{_milliseconds(ours)} / {_milliseconds(theirs)}")


def _milliseconds(row: Row) -> str:
    return f"{row.p50 * 1e3:.4g} ms"


def main(
    quick: bool = False, json: Path | None = None, plot: Path | None = None, *, device: str = "auto",
    seconds: float | None = None, minutes: float = math.inf, only: str = "", clock: str = "wall",
) -> int:  # fmt: skip
    """Run, print, and write what is asked for.

    Args:
        quick: The CPU aims only: six cases and the implementations they name, under three minutes on two cores unless
            `minutes` says otherwise.
        json: Where to write every number; "-" is standard output.
        plot: Where to write the picture, a PNG.
        device: "cpu", "cuda", or "auto": CUDA where there is one, but a quick run is always on the CPU.
        seconds: For the timing of one case; 4 on a GPU, else 30. A quick run divides its time among its cases.
        minutes: For all cases; what does not fit is dropped and named. A quick run drops none and divides them.
        only: Keep the cases whose name contains this.
        clock: "wall", or "cpu" where others use the processor too; best with one thread then.

    Returns:
        0, 1 where an implementation of ours was refused or raised, or 2 where no case has that name.
    """
    console = Console(width=None if Console().is_terminal else 132, stderr=json == Path("-"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() and not quick else "cpu"
    cases = quick_cases() if quick else gpu_cases() if device == "cuda" else cpu_cases()
    there = [case.name for case in cases]
    cases = [case for case in cases if only in case.name]
    if not cases:
        Console(stderr=True).print(f"No case has {only!r} in its name; there are {'; '.join(there)}.", markup=False)
        return 2
    peers = [peer for peer in PEERS if not quick or peer.name in QUICK]
    if quick:
        minutes = QUICK_MINUTES if minutes == math.inf else minutes
    else:
        seconds = seconds or (4.0 if device == "cuda" else 30.0)
    measured, dropped = run(cases, peers, device, seconds, minutes, clock, console)
    judged = aims(measured, device)
    console.print(report.LEGEND, style="dim")
    if quick:
        left_out = list(dict.fromkeys(peer.name for peer in PEERS if peer.name not in QUICK))
        console.print(f"Not asked for in a quick run: {', '.join(left_out)}.", style="dim")
    if dropped:
        console.print(f"Dropped for lack of time: {', '.join(dropped)}.", style="yellow")
    report.show_aims(console, judged)
    finish(report.document(measured, dropped, judged, device), measured, json, plot, console)
    return int(any(broken(one) for one in measured))


def broken(one: Measured) -> list[str]:
    """What of ours has no number for a bad reason."""
    return [
        f"{one.name}: {row.peer}: {row.reason}"
        for row in one.rows
        if row.peer.startswith("poz") and row.status in ("refused", "failed")
    ]


def finish(data: Any, measured: Sequence[Measured], json: Path | None, plot: Path | None, console: Console) -> None:
    """Write the files that are asked for."""
    if json == Path("-"):
        report.print_json(data)
    elif json is not None:
        report.write(json, data)
        console.print(f"Wrote {json}")
    if plot is not None:
        report.draw(plot, measured)
        console.print(f"Wrote {plot}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="poz bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the CPU aims only, under three minutes on two cores")
    parser.add_argument("--json", type=Path, help="write every number here")
    parser.add_argument("--plot", type=Path, help="write the picture here, a PNG")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seconds", type=float, help="for the timing of one case")
    parser.add_argument("--minutes", type=float, default=math.inf, help="for all cases; what does not fit is dropped")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, on a busy machine"
    )
    parser.add_argument("--only", default="", help="keep the cases whose name contains this")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main(**vars(_arguments())))
