"""The command line: poz list | show | plot | verify | cases | audit | demo | bench | scale. Needs the extra `cli`."""
# ruff: noqa: E402 - what is missing is said before anything fails

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, NoReturn

from poz._extras import require

require("The command line", "cli", "typer", "rich")

import typer
from rich.box import MARKDOWN
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

import poz
from poz._output import PICTURES, check_output
from poz.demo_settings import STEPS
from poz.families import named
from poz.objective import Base, Objective
from poz.zoo import UnknownObjective

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Preference-optimization objectives, exact and fused."
)
out = Console()
STDOUT = Path("-")
WIDE = 130  # columns of a table that goes into a page
TABLE = 72  # columns that the list needs as a table
EVERY = 10.0  # seconds between two lines of progress, where there is no terminal to draw a bar on
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Objectives; all where none is given.")]


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        out.print(poz.__version__)
        raise typer.Exit()


def _folded(header: str) -> Column:
    return Column(header, overflow="fold")  # a narrow terminal cuts nothing off


@app.command("list")
def list_(
    family: Annotated[str | None, typer.Option(help="Only objectives on this family, such as Ranked.")] = None,
    reads: Annotated[list[str] | None, typer.Option(help="Only those that read this field, or may.")] = None,
    reference_free: Annotated[
        bool | None, typer.Option("--reference-free/--with-reference", help="Whether no reference policy is needed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Objectives, in order of publication: a table, or, where it is piped, a line each with tabs between its fields."""
    try:
        found = poz.zoo.find(family=family, reads=reads or (), reference_free=reference_free)
    except ValueError as error:
        _stop(str(error))
    rows: list[dict[str, Any]] = [
        {
            "name": spec.name,
            "family": spec.family.__name__,
            "paper": spec.paper,
            "title": spec.title,
            "aliases": list(spec.aliases),
            "reads": [field for field in spec.family._fields if field in spec.reads],
            "optional": [field for field in spec.family._fields if field in spec.optional],
        }
        for spec in found
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    elif out.is_terminal and out.width < TABLE:
        for row in rows:
            out.print(Text("; ".join((row["name"], row["title"], row["paper"], row["family"], " ".join(row["reads"])))))
    elif out.is_terminal:
        table = Table(*(Column(name, no_wrap=True) for name in ("name", "family", "paper")), _folded("title"), box=None)
        for row in rows:
            also = f" ({', '.join(row['aliases'])})" if row["aliases"] else ""
            table.add_row(
                row["name"], row["family"], row["paper"].removeprefix("arXiv:"), Text(f"{row['title']}{also}")
            )
        out.print(table)
    else:
        for row in rows:
            typer.echo("\t".join(" ".join(cell) if isinstance(cell, list) else cell for cell in row.values()))
    if not rows:
        _stop("No objective is all of that. Leave one of the options out.")


@app.command()
def show(name: str) -> None:
    """One objective: formula, hyper-parameters with domains, what it reads, published values, who computes it otherwise."""
    from poz import peers

    spec = _find([name])[0]
    out.print(Text(f"{spec.name}: {spec.title}", style="bold"))
    out.print(Text(f"{spec.paper}, {spec.equation}"))
    out.print(Text(" ".join((spec.function.__doc__ or "").split())))
    out.print(Text(f"\n  {spec.formula}\n", style="cyan"), soft_wrap=True)  # or a break would stand within a command
    fields = [f for f in spec.family._fields if f in spec.reads]
    optional = [f for f in spec.family._fields if f in spec.optional]
    out.print(
        Text(
            f"Reads {named(spec.family)}: {', '.join(fields)}"
            + f"; where given: {', '.join(optional)}" * bool(optional)
        )
    )
    table = Table(Column("parameter", no_wrap=True), *map(_folded, ("default", "domain", "meaning")))
    for parameter, (default, domain) in spec.params.items():
        unit = getattr(domain, "unit", "1")
        meaning = domain.meaning + f" ({unit})" * (unit != "1")
        cells = (
            parameter,
            default.name if isinstance(default, Objective) else repr(default),
            domain.describe(),
            meaning,
        )
        table.add_row(*(Text(str(cell)) for cell in cells))
    out.print(table)
    for where, values in spec.published:
        used = "; ".join(f"{parameter} {', '.join(map(str, tried))}" for parameter, tried in values.items())
        out.print(Text(f"Published: {used} ({where})."))
    if spec.gradient_stops:
        out.print(Text(f"Held constant in the gradient: {spec.gradient_stops}."))
    if spec.coupled:
        out.print(Text(f"Defined over the whole batch: {spec.coupled}."))
    for limit in spec.reduces_to:
        out.print(Text(f"Reduces to {limit.to}: {limit.why}."))
    if spec.deviations:
        deviations = Table(*map(_folded, ("who", "does what", "here")))
        for deviation in spec.deviations:
            deviations.add_row(*(Text(cell) for cell in deviation))
        out.print(deviations)
    own = [record for record in peers.results()["records"] if record.get("objective") == spec.name]
    if own:
        elsewhere = Table(*map(_folded, ("elsewhere", "function or fact", "verdict")))
        for record in peers.together(own):
            what = record.get("function") or record["does"]
            elsewhere.add_row(*map(Text, (f"{record['library']} {record['version']}", what, _verdict(record))))
        out.print(elsewhere)
    out.print(Text(f"Rests on: {spec.basis}"))
    out.print(Text(f"Files: {', '.join(_files(spec))}"), soft_wrap=True)


def _files(spec: Objective) -> Iterator[str]:
    """The objective's file, its reference's, and its kernel's where there is one."""
    family = spec.family.__module__.rpartition(".")[2]
    for part in ("objectives", "reference", "kernels"):
        folder = Path(*import_module(f"poz.{part}").__path__)
        if (path := folder / family / f"{spec.name}.py").exists():
            yield str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@app.command()
def plot(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Objectives.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG, PDF or SVG file.")] = Path("poz.png"),
    widest: Annotated[float, typer.Option(help="Margins from minus this to this, in nats.")] = 10.0,
) -> None:
    """Loss and gradient against the margin."""
    from poz.plotting import plot as draw

    if not 0 < widest < math.inf:
        _stop(f"--widest must be a positive number of nats; got {widest}.")
    _check_output(output, PICTURES)
    try:
        draw(_find(names), output, widest)
    except ValueError as error:
        _stop(str(error))
    except OSError as error:
        _stop(f"Cannot write {output}: {error}")
    out.print(f"Wrote {output}")


@app.command()
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

    _check_seed(seed)
    chosen = list(dict.fromkeys(spec.name for spec in (_find(names) if names else poz.zoo.values())))
    backends = list(dict.fromkeys(backend or BACKENDS))
    unknown = sorted(set(backends) - set(BACKENDS))
    if unknown:
        _stop(f"There is no backend {unknown[0]!r}; there are {', '.join(BACKENDS)}.")
    _check_output(report)
    say = Console(stderr=True) if report == STDOUT else out
    lacking = {name: why for name in backends if (why := missing(name))}
    if backend and lacking:
        _stop(next(iter(lacking.values())))
    for why in lacking.values():
        say.print(Text(f"{why} It is left out."))
    backends = [name for name in backends if name not in lacking]
    total = sum(runs(name, one) for name in chosen for one in backends)
    results: list[dict[str, Any]] = []
    try:
        for result in _watched(backends, chosen, cases, seed, total):
            results.append(result)
    except KeyboardInterrupt:
        say.print(f"Stopped; {len(results)} of {total} are finished.")
    table = Table("objective", *backends, caption="worst loss error / worst gradient error; –: not run there")
    for name in chosen:
        row = {r["backend"]: r for r in results if r["objective"] == name}
        table.add_row(name, *(_cell(row.get(b)) for b in backends))
    say.print(table)
    for name, one in itertools.product(chosen, backends):
        if why := refusal(name, one):
            say.print(Text(f"{name} is not run on {one}: {why}."))
    missed = [r for r in results if not r["passed"]]
    for result in missed:
        say.print(Text(f"{result['objective']} on {result['backend']}: {result['problem']}", style="red"))
        for what in ("inputs", "again"):
            say.print(Text(f"  {what}: {result[what]}"), soft_wrap=True)
    say.print(f"{len(results) - len(missed)} passed, {len(missed)} failed")
    if report is not None:
        head = {"versions": _versions(), "cases": cases, "seed": seed, "finished": len(results) == total}
        _write(report, json.dumps({**head, "results": results}, indent=1) + "\n")
    raise typer.Exit(130 if len(results) < total else bool(missed) or not results)


@app.command()
def cases(
    name: str,
    count: Annotated[int, typer.Option(min=1, help="Draws of inputs and hyper-parameters.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
) -> None:
    """Inputs, hyper-parameters, losses and gradients in float64 as JSON, for an implementation in another language."""
    from poz import testing

    _check_seed(seed)
    typer.echo(json.dumps(testing.cases(_find([name])[0].name, count=count, seed=seed), indent=1, allow_nan=False))


def _verdict(record: dict[str, Any]) -> str:
    """In words, and why a loss differs, where that is known."""
    from poz import peers

    known = record["kind"] == "loss" and record["verdict"] == "differs" and record["does"]
    return peers.described(record) + (f": it {record['does']}" if known else "")


def _plain(name: str) -> str:
    """A library's name however it is spelled: TRL, ms_swift."""
    return re.sub(r"[-_ ]", "", name).lower()


@app.command()
def audit(
    library: Annotated[list[str] | None, typer.Option(help="Only these libraries.")] = None,
    objective: Annotated[str, typer.Option(help="Only what is about this objective; prints the examples.")] = "",
    report: Annotated[
        Path | None, typer.Option("--json", help="Write every record here; - is standard output.")
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="Draws of inputs and hyper-parameters for each loss.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    checkout: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="A library that is read from a git work tree.")
    ] = None,
) -> None:
    """What the losses of other libraries are, of those that are installed; exit 1 where none could be called."""
    from poz import peers

    _check_seed(seed)
    _check_output(report)
    known = peers.libraries()
    plain = {_plain(one): one for one in known}
    library = [plain.get(_plain(one), one) for one in library or ()]
    places = [one.partition("=") for one in checkout or ()]
    places = [(plain.get(_plain(place), place), "=", path) for place, _, path in places]
    for given in checkout or ():
        if not given.partition("=")[2]:
            _stop(f"--checkout takes a library and a folder, as in HALOs=../HALOs; got {given!r}.")
    if unknown := [one for one in [*library, *(place[0] for place in places)] if one not in known]:
        _stop(f"There is no library {unknown[0]!r}; there are {', '.join(sorted(known, key=str.lower))}.")
    for place, _, path in places:
        try:
            peers.checkout(place, Path(path))
        except ValueError as error:
            _stop(str(error))
    name = _find([objective])[0].name if objective else ""
    say = Console(stderr=True) if report == STDOUT else out
    asked = [known[one] for one in dict.fromkeys(library or known)]
    there = [one for one in asked if one.version()]
    records: list[dict[str, Any]] = []
    with Console(stderr=True).status("audit") as status, contextlib.redirect_stdout(sys.stderr):  # what libraries print
        for one in there:
            for record in peers.audit(one, name, cases=cases, seed=seed):
                records.append(record)
                status.update(f"{one.name}: {len(records)} judged")
    table = Table(*map(_folded, ("library", "function or fact", "objective", "verdict")))
    for record in records:
        cells = f"{record['library']} {record['version']}", record.get("function") or record["does"]
        table.add_row(*map(Text, (*cells, record.get("objective", ""), _verdict(record))))
    if records:
        say.print(table)
        say.print("docs/peers.md says what the verdicts mean.")
    elif there:
        say.print("Nothing is known of that: leave --objective out, or see `poz show` for what other libraries have.")
    for record in records if objective or library else ():
        for what in ("with", "example"):
            if what in record:
                said = f"{record['library']}, {record['function']}, {what}: {record[what]}"
                say.print(Text(said), soft_wrap=True)
    if absent := [one.name for one in asked if one not in there]:
        say.print(Text(f"Not installed, nor given as --checkout: {', '.join(absent)}."))
    called = [record for record in records if record["verdict"] != "cannot be called"]
    say.print(f"{len(called)} of {len(records)} called")
    if report is not None:
        head = {"versions": _versions(), "objective": name, "cases": cases, "seed": seed}
        _write(report, json.dumps({**head, "records": records}, indent=1) + "\n")
    raise typer.Exit(not called)


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


@app.command()
def demo(
    objective: Annotated[
        str, typer.Option(help="Any objective of `poz list` that pairs serve, or rollouts.")
    ] = "simpo",
    data: Annotated[
        Path | None, typer.Option(help="JSON lines or array, CSV, Parquet or Arrow, in a layout of docs/data.md.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = STEPS,
    output: Annotated[Path, typer.Option("--output", "-o", help="The curves, as a PNG.")] = Path("poz-demo.png"),
    seed: Annotated[int, typer.Option(help="Of the model and the order of the data.")] = 0,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A hyper-parameter, as in beta=0.5; repeatable.")
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write the trained model here.")] = None,
    reward_model: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A reward model that scores what the policy writes.")
    ] = None,
) -> None:
    """Trains a tiny policy with TRL from preferences, or its own completions (grpo), or a reward model (bradley_terry).

    Exit 1 if the loss is no number.
    """
    from poz.demo import run

    _check_seed(seed)
    params = _params(_find([objective])[0], param or [])
    try:
        run(objective, data, steps, output, seed, params=params, save=save, reward_model=reward_model)
    except FloatingPointError as error:
        _stop(str(error), 1)
    except (TypeError, ValueError, OSError) as error:
        _stop(str(error))


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="The aims on a CPU only, under three minutes.")] = False,
    report: Annotated[
        Path | None, typer.Option("--json", help="Write every number here; - is standard output.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--plot", help="Write the picture here, a PNG.")] = None,
    only: Annotated[str, typer.Option(help="Only cases whose name contains this.")] = "",
    minutes: Annotated[float | None, typer.Option(min=0, help="For all cases: longer gives steadier medians.")] = None,
) -> None:
    """Fused log-probs against every peer: time, memory and error, in one interleaved run."""
    from poz.bench.run import main as measure

    _check_output(report)
    _check_output(picture, PICTURES)
    try:
        code = measure(quick, report, picture, only=only, minutes=math.inf if minutes is None else minutes)
    except OSError as error:
        _stop(f"Cannot write what was measured: {error}")
    raise typer.Exit(code)


@app.command()
def scale(
    vocabulary: Annotated[int, typer.Option(min=1, help="V.")] = 128256,
    hidden: Annotated[int, typer.Option(min=1, help="D.")] = 4096,
    tokens: Annotated[int, typer.Option(min=1, help="In the loss, of each device in a step.")] = 16384,
    devices: Annotated[list[int] | None, typer.Option(min=1, help="In all; repeatable.")] = None,
    node: Annotated[int, typer.Option(min=1, help="Devices of a node.")] = 8,
    inside: Annotated[float, typer.Option(help="GB/s from a device to others of its node.")] = 450.0,
    across: Annotated[float, typer.Option(help="GB/s from a device to other nodes.")] = 50.0,
    room: Annotated[float, typer.Option(help="GiB for the head on a device.")] = 16.0,
) -> None:
    """What a head costs on many devices, in each layout: a model of bytes and bandwidths, nothing measured."""
    from poz.scale import Head, Machine, best, costs

    table = Table(
        "devices", "layout", "MB inside", "MB across", "bytes per token", "memory, GiB", "ms on wires", "", box=MARKDOWN
    )
    head = Head(vocabulary, hidden, tokens)
    if not room >= 0:
        _stop(f"room must be 0 or more; got {room}.")
    for number in devices or [8, 64, 1024]:
        try:
            found = list(costs(head, Machine(number, node, inside * 1e9, across * 1e9)))
        except ValueError as error:
            _stop(str(error))
        taken = best(found, room * 2**30)
        for one in found:
            moved = one.inside + one.across
            mark = "take" if one is taken else "no room" if one.memory > room * 2**30 else ""
            numbers = one.inside / 1e6, one.across / 1e6, moved / tokens, one.memory / 2**30, one.seconds * 1e3
            digits = 0, 0, 0, 1, 1
            cells = (f"{x:,.{places}f}" for x, places in zip(numbers, digits, strict=True))
            table.add_row(str(number), one.layout, *cells, mark)
    Console(width=WIDE).print(table)


def _find(names: list[str]) -> list[Objective]:
    try:
        return [poz.zoo[name] for name in names]
    except UnknownObjective as error:
        _stop(str(error))


def _params(objective: Objective, given: list[str]) -> dict[str, Any]:
    """Hyper-parameters from texts, each read by its domain."""
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            _stop(f"--param takes a name and a value, as in beta=0.5; got {text!r}.")
        if name in values:
            _stop(f"--param gives {name} twice. Leave one out.")
        if name in objective.params:
            domain = objective.params[name].domain
            values[name] = poz.zoo.get(value, value) if isinstance(domain, Base) else domain.read(value)
        else:
            values[name] = value  # which `bind` refuses, by the name
    try:
        objective.bind(**values)
    except (TypeError, ValueError) as error:
        _stop(str(error))
    return values


def _check_output(path: Path | None, endings: tuple[str, ...] = ()) -> None:
    if path == STDOUT and not endings:
        return
    try:
        if path is not None:
            check_output(path, endings)
    except ValueError as error:
        _stop(str(error))


def _write(report: Path, text: str) -> None:
    if report == STDOUT:
        typer.echo(text, nl=False)
        return
    try:
        report.write_text(text, encoding="utf-8")
    except OSError as error:
        _stop(f"Cannot write {report}: {error}")


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        _stop(f"--seed must be a whole number from 0 to {2**32 - 1}; got {seed}.")


def _stop(message: str, code: int = 2) -> NoReturn:
    Console(stderr=True).print(Text(message, style="red"))
    raise typer.Exit(code)


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
        _stop(f"The {backend} worker ended with exit code {process.returncode}; its message is above.")


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


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "poz": poz.__version__}
    for package in ("numpy", "torch", "jax", "triton", "trl"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
