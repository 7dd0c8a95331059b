"""What a run says: tables in the terminal, JSON with versions and commit, a picture."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from poz._digest import digest
from poz._versions import versions
from poz.bench.inputs import SEED
from poz.bench.measure import Measured, Row, plain

PACKAGES = (
    "numpy", "torch", "triton", "jax", "jaxlib", "optax", "trl", "transformers", "liger-kernel", "cut-cross-entropy",
    "quack-kernels", "tokamax",
)  # fmt: skip


class Aim(NamedTuple):
    """A ratio that the project wants, and what it came to.

    Attributes:
        text: What over what, on which case.
        value: The ratio, NaN where a row has no number.
        limit: The most it should be.
        detail: What the ratio was made of.
    """

    text: str
    value: float
    limit: float
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether it is within the limit."""
        return self.value <= self.limit


def machine(device: str) -> dict[str, Any]:
    """Processor, GPU and threads."""
    found: dict[str, Any] = {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    if device == "cuda":
        about = torch.cuda.get_device_properties(0)
        found |= {"gpu": about.name, "gpu_memory_gib": round(about.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line for line in lines if line.startswith("flags")), "")
    return name + "".join(f", {flag}" for flag in ("avx2", "avx512f", "amx_bf16") if f" {flag} " in f"{flags} ")


def commit() -> str:
    """The checkout's commit, with "+changes" where files differ from it; outside a checkout what POZ_COMMIT says."""
    root = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", root, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + "+changes" * bool(git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("POZ_COMMIT", "unknown")


def described(device: str) -> Iterator[Path]:
    """The files that a run on the device describes: how it measures, and what of poz it measures."""
    bench = Path(__file__).resolve().parent
    yield from (bench / f"{name}.py" for name in ("exact", "inputs", "measure", "peers", "shapes"))
    parts = ("poz.torch.head", "poz.jax.head", *["poz.kernels"] * (device == "cuda"))
    for spec in map(importlib.util.find_spec, parts):
        yield from Path(spec.origin).parent.glob("*.py")


def document(measured: Sequence[Measured], dropped: Sequence[str], aims: Sequence[Aim], device: str) -> dict[str, Any]:
    """All of a run as plain data."""
    return {
        "format": 1,
        "versions": versions(PACKAGES),
        "commit": commit(),
        "digest": digest(described(device)),
        "machine": machine(device),
        "device": device,
        "seed": SEED,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "cases": [plain(one) for one in measured],
        "dropped": list(dropped),
        "aims": [{**aim._asdict(), "met": aim.met} for aim in aims],
    }


def write(path: Path, data: Any) -> None:
    """Write JSON; what is not a number becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}")  # a run that is cut off while it writes keeps the file before
    fresh.write_text(json.dumps(_clean(data), indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)


def print_json(data: Any) -> None:
    """The same on standard output."""
    print(json.dumps(_clean(data), indent=1))


def update(path: Path, **found: Any) -> None:
    """Set some keys of a JSON file that several processes write to, one after the other."""
    known = json.loads(path.read_text()) if path.exists() else {}
    write(path, {**known, **found})


def load(cases: Sequence[dict[str, Any]]) -> list[Measured]:
    """What was measured, from the key "cases" of `document`; what was no number is NaN again."""
    made = []
    for case in cases:
        floor = {**case["floor"], "seconds": _number(case["floor"].get("seconds"))}
        rows = [Row(**row) for row in case["rows"]]
        made.append(Measured(**{**case, "floor": floor, "logps": _number(case["logps"]), "rows": rows}))
    return made


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _clean(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _clean(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_clean(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def table(measured: Measured) -> Table:
    """One case: time, ratios, memory and errors of every row; below, who has no numbers and why."""
    floor = measured.floor
    rates = ", ".join(f"{name} {rate:.3g}" for name, rate in floor["tflops"].items())
    columns = ("p50 ms", "p20-p80", "/peer", "/floor", "Tflop/s", "MiB", "rms", "bias", "max", "dH", "dW")
    made = Table(
        Column("", no_wrap=True), *(Column(name, justify="right", no_wrap=True) for name in columns),
        title=f"{measured.name}   (floor {floor['seconds'] * 1e3:.4g} ms; matmul Tflop/s: {rates}; "
        f"copy {floor['copy_gb_per_s']:.3g} GB/s; mean log-prob {measured.logps:.2f})",
        title_justify="left",
    )  # fmt: skip
    for row in sorted(measured.rows, key=lambda row: row.seconds.get("p50", math.inf)):
        if row.status == "measured":
            made.add_row(*_cells(row))
    for row in measured.rows:
        if row.status != "measured":
            made.add_row(
                Text(row.peer, style="dim"), Text(row.status, style="red" if row.status == "refused" else "dim")
            )
    return made


def _cells(row: Row) -> list[str | Text]:
    seconds, errors = row.seconds, row.errors
    name = row.peer + {"tokens": "", "dpo": " (loss)", "dapo": " (loss)", "mean": " *"}[row.task]

    def error(key: str) -> str:
        value = errors.get(key)
        return "" if value is None else f"{value:.0e}"

    return [
        Text(name, style="bold" if row.peer.startswith("poz") else ""),
        f"{seconds['p50'] * 1e3:.4g}",
        f"{seconds['p20'] * 1e3:.4g}-{seconds['p80'] * 1e3:.4g}",
        "" if row.to_best_peer is None else f"{row.to_best_peer:.2f}",
        "" if row.to_floor is None else f"{row.to_floor:.2f}",
        "" if row.tflops is None else f"{row.tflops:.3g}",
        "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f}",
        error("rms") if row.task == "tokens" else f"loss {error('loss')}",
        error("bias"),
        error("worst"),
        error("hidden"),
        error("weight"),
    ]


def show(console: Console, measured: Measured) -> None:
    """Print a case and the reasons of rows without numbers."""
    console.print(table(measured))
    for row in measured.rows:
        if row.status != "measured":
            console.print(Text(f"  {row.peer}: {row.status}: {row.reason}", style="dim"))


LEGEND = (
    "/peer: median over the fastest implementation that is not ours and can serve a preference loss. "
    "/floor: median over the time of the bare matrix products (or of moving the bytes, where longer) in the same run. "
    "MiB: peak beyond what was there before the call, results included. "
    "rms, bias, max: of log-probs, nats; dH, dW: relative errors of the gradients; all against float64 on the same inputs. "
    "(loss): makes the loss itself, DPO's or that which the case names. "
    "*: gives a mean only, so no preference loss can be made of it."
)


def show_aims(console: Console, aims: Sequence[Aim]) -> None:
    """Print the ratios that the project is held to."""
    made = Table("aim", Column("ratio", justify="right"), Column("at most", justify="right"), "", "from")
    for aim in aims:
        verdict = (
            Text("met", style="green")
            if aim.met
            else Text("no number" if math.isnan(aim.value) else "missed", style="red")
        )
        made.add_row(aim.text, f"{aim.value:.3g}", f"{aim.limit:.3g}", verdict, aim.detail)
    console.print(made)


def markdown(measured: Sequence[Measured]) -> str:
    """Tables for a page: each case with the times, ratios, memory and errors of its rows, the fastest first."""
    blocks = []
    for one in measured:
        columns = ("", "p50 ms", "/peer", "/floor", "MiB", "log-prob rms", "dH", "dW")
        lines = [f"**{one.name}**, floor {one.floor['seconds'] * 1e3:.4g} ms", ""]
        lines += [f"| {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) - 1)}|"]
        for row in sorted(one.rows, key=lambda row: row.seconds.get("p50", math.inf)):
            if row.status == "measured":
                cells = [str(cell) for cell in _cells(row)]
                lines.append(f"| {' | '.join([*cells[:2], *cells[3:5], *cells[6:8], *cells[10:]])} |")
        absent = [f"{row.peer} ({row.reason})" for row in one.rows if row.status != "measured"]
        lines += ["", f"No number: {'; '.join(absent)}."] if absent else []
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def draw(path: Path, measured: Sequence[Measured]) -> None:
    """A picture: for each case, time over the floor, memory and error of every row."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullFormatter

    names = list(dict.fromkeys(row.peer for one in measured for row in one.rows if row.status == "measured"))
    shades = plt.get_cmap("tab20")
    style = {name: (shades(i % 20), "D" if name.startswith("poz") else "o") for i, name in enumerate(names)}
    figure, axes = plt.subplots(
        1, 3, figsize=(15, 1.8 + 0.45 * max(len(measured), 3)), sharey=True, layout="constrained", squeeze=False
    )
    titles = ("time / floor", "peak extra memory, MiB", "log-prob rms error, nats")
    for axis, title, key in zip(axes[0], titles, ("to_floor", "peak_bytes", "rms"), strict=True):
        for name in names:
            points = [
                (value, height)
                for height, one in enumerate(measured)
                if (row := one.row(name)) is not None and (value := _value(row, key))
            ]
            if points:
                color, marker = style[name]
                axis.scatter(*zip(*points, strict=True), label=name, color=color, marker=marker, s=36, alpha=0.85)
        axis.set_xscale("log")
        if axis.collections:
            low, high = np.log10(axis.dataLim.intervalx)
            axis.set_xlim(10.0 ** math.floor(low), 10.0 ** max(math.ceil(high), math.floor(low) + 1))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(title)
        axis.grid(alpha=0.3)
    axes[0][0].axvline(1, color="black", linewidth=0.8)
    axes[0][0].set_yticks(range(len(measured)), [one.name for one in measured])
    axes[0][0].invert_yaxis()
    handles = [Line2D([], [], color=c, marker=m, linestyle="", label=name) for name, (c, m) in style.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(names), 8) or 1, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _value(row: Row, key: str) -> float | None:
    if key == "peak_bytes":
        return None if row.peak_bytes is None else row.peak_bytes / 2**20
    return row.errors.get("rms") if key == "rms" else row.to_floor


def main() -> int:
    """Make the picture and the tables of a page from the JSON of a run."""
    parser = argparse.ArgumentParser(prog="python -m poz.bench.report", description=main.__doc__)
    parser.add_argument("json", type=Path)
    parser.add_argument("--plot", type=Path, help="write the picture here, a PNG")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    given = parser.parse_args()
    measured = load(json.loads(given.json.read_text())["cases"])
    if given.plot is not None:
        draw(given.plot, measured)
    if given.markdown is not None:
        given.markdown.write_text(markdown(measured))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
