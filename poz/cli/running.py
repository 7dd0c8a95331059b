"""poz demo | bench | scale: what trains, measures and counts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from poz._output import PICTURES, plain
from poz.cli import screen
from poz.cli.params import read_params
from poz.cli.screen import STDOUT, WIDE, check_report, check_seed, find, stop, write
from poz.demo_settings import STEPS


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
    report: Annotated[
        Path | None, typer.Option("--json", help="Write every number here; - is standard output.")
    ] = None,
) -> None:
    """Trains a tiny policy with TRL from preferences, or its own completions (grpo), or a reward model (bradley_terry).

    Exit 1 if the loss is no number.
    """
    from poz.demo import run

    check_seed(seed)
    check_report(report)
    params = read_params(find([objective])[0], param or [], "--param")
    console = Console(stderr=True) if report == STDOUT else screen.out
    more: dict[str, Any] = {"params": params, "save": save, "reward_model": reward_model}
    try:
        result = run(objective, data, steps, output, seed, **more, show=lambda line: screen.say(line, console))
    except FloatingPointError as error:
        stop(str(error), 1)
    except (TypeError, ValueError, OSError) as error:
        stop(str(error))
    if report is not None:
        write(report, json.dumps(plain(result), indent=1, ensure_ascii=False) + "\n")


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

    check_report(report)
    check_report(picture, PICTURES)
    try:
        code = measure(quick, report, picture, only=only, minutes=math.inf if minutes is None else minutes)
    except OSError as error:
        stop(f"Cannot write what was measured: {error}")
    raise typer.Exit(code)


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

    columns = "devices", "layout", "MB inside", "MB across", "bytes per token", "memory, GiB", "ms on wires", ""
    rows: list[tuple[str, ...]] = []
    head = Head(vocabulary, hidden, tokens)
    if not room >= 0:
        stop(f"room must be 0 or more; got {room}.")
    for number in devices or [8, 64, 1024]:
        try:
            found = list(costs(head, Machine(number, node, inside * 1e9, across * 1e9)))
        except ValueError as error:
            stop(str(error))
        taken = best(found, room * 2**30)
        for one in found:
            moved = one.inside + one.across
            mark = "take" if one is taken else "no room" if one.memory > room * 2**30 else ""
            numbers = one.inside / 1e6, one.across / 1e6, moved / tokens, one.memory / 2**30, one.seconds * 1e3
            digits = 0, 0, 0, 1, 1
            cells = (f"{x:,.{places}f}" for x, places in zip(numbers, digits, strict=True))
            rows.append((str(number), one.layout, *cells, mark))
    if screen.out.is_terminal:
        screen.table(columns, rows)
        return
    table = Table(*columns, box=MARKDOWN)  # for a page
    for row in rows:
        table.add_row(*row)
    Console(width=WIDE).print(table)
