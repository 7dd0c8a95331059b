"""poz list | show | plot | cases: what there is, and what one of it is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

import poz
from poz._output import PICTURES
from poz.cli import screen
from poz.cli.screen import check_report, check_seed, find, folded, stop
from poz.families import named
from poz.objective import Objective

TABLE = 72  # columns that the list needs as a table


def list_(
    answers: Annotated[
        list[str] | None, typer.Option("--for", metavar="PURPOSE", help="Only what answers this, such as ties.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only objectives on this family, such as Ranked.")] = None,
    reads: Annotated[list[str] | None, typer.Option(help="Only those that read this field, or may.")] = None,
    reference_free: Annotated[
        bool | None, typer.Option("--reference-free/--with-reference", help="Whether no reference policy is needed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Objectives, in order of publication: a table, or, where it is piped, a line each with tabs between its fields."""
    asked: dict[str, Any] = {"answers": answers or (), "family": family, "reads": reads or ()}
    try:
        found = poz.zoo.find(**asked, reference_free=reference_free)
    except ValueError as error:
        stop(str(error))
    rows: list[dict[str, Any]] = [
        {
            "name": spec.name,
            "family": spec.family.__name__,
            "paper": spec.paper,
            "title": spec.title,
            "aliases": list(spec.aliases),
            "reads": [field for field in spec.family._fields if field in spec.reads],
            "optional": [field for field in spec.family._fields if field in spec.optional],
            "answers": [one.to for one in spec.answers],
        }
        for spec in found
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    elif screen.out.is_terminal and screen.out.width < TABLE:
        for row in rows:
            screen.out.print(
                Text("; ".join((row["name"], row["title"], row["paper"], row["family"], " ".join(row["reads"]))))
            )
    elif screen.out.is_terminal:
        table = Table(*(Column(name, no_wrap=True) for name in ("name", "family", "paper")), folded("title"), box=None)
        for row in rows:
            also = f" ({', '.join(row['aliases'])})" if row["aliases"] else ""
            table.add_row(
                row["name"], row["family"], row["paper"].removeprefix("arXiv:"), Text(f"{row['title']}{also}")
            )
        screen.out.print(table)
    else:
        for row in rows:
            typer.echo("\t".join(" ".join(cell) if isinstance(cell, list) else cell for cell in row.values()))
    if not rows:
        stop("No objective is all of that. Leave one of the options out.")


def show(name: str) -> None:
    """One objective: formula, hyper-parameters with domains, what it reads, published values, who computes it otherwise."""
    from poz import peers

    spec = find([name])[0]
    screen.out.print(Text(f"{spec.name}: {spec.title}", style="bold"))
    screen.out.print(Text(f"{spec.paper}, {spec.equation}"))
    screen.out.print(Text(" ".join((spec.function.__doc__ or "").split())))
    screen.out.print(
        Text(f"\n  {spec.formula}\n", style="cyan"), soft_wrap=True
    )  # or a break would stand within a command
    fields = [f for f in spec.family._fields if f in spec.reads]
    optional = [f for f in spec.family._fields if f in spec.optional]
    screen.out.print(
        Text(
            f"Reads {named(spec.family)}: {', '.join(fields)}"
            + f"; where given: {', '.join(optional)}" * bool(optional)
        )
    )
    table = Table(Column("parameter", no_wrap=True), *map(folded, ("default", "domain", "meaning")))
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
    screen.out.print(table)
    for where, values in spec.published:
        used = "; ".join(f"{parameter} {', '.join(map(str, tried))}" for parameter, tried in values.items())
        screen.out.print(Text(f"Published: {used} ({where})."))
    if spec.gradient_stops:
        screen.out.print(Text(f"Held constant in the gradient: {spec.gradient_stops}."))
    if spec.coupled:
        screen.out.print(Text(f"Defined over the whole batch: {spec.coupled}."))
    for limit in spec.reduces_to:
        screen.out.print(Text(f"Reduces to {limit.to}: {limit.why}."))
    if spec.deviations:
        deviations = Table(*map(folded, ("who", "does what", "here")))
        for deviation in spec.deviations:
            deviations.add_row(*(Text(cell) for cell in deviation))
        screen.out.print(deviations)
    own = [record for record in peers.results()["records"] if record.get("objective") == spec.name]
    if own:
        elsewhere = Table(*map(folded, ("elsewhere", "function or fact", "verdict")))
        for record in peers.together(own):
            what = record.get("function") or record["does"]
            elsewhere.add_row(
                *map(Text, (f"{record['library']} {record['version']}", what, peers.described(record, does=True)))
            )
        screen.out.print(elsewhere)
    screen.out.print(Text(f"Rests on: {spec.basis}"))
    screen.out.print(Text(f"Files: {', '.join(_files(spec))}"), soft_wrap=True)


def _files(spec: Objective) -> Iterator[str]:
    """The objective's file, its reference's, and its kernel's where there is one."""
    family = spec.family.__module__.rpartition(".")[2]
    for part in ("objectives", "reference", "kernels"):
        folder = Path(*import_module(f"poz.{part}").__path__)
        if (path := folder / family / f"{spec.name}.py").exists():
            yield str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def plot(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Objectives.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG, PDF or SVG file.")] = Path("poz.png"),
    widest: Annotated[float, typer.Option(help="Margins from minus this to this, in nats.")] = 10.0,
) -> None:
    """Loss and gradient against the margin."""
    from poz.plotting import plot as draw

    if not 0 < widest < math.inf:
        stop(f"--widest must be a positive number of nats; got {widest}.")
    check_report(output, PICTURES)
    try:
        draw(find(names), output, widest)
    except ValueError as error:
        stop(str(error))
    except OSError as error:
        stop(f"Cannot write {output}: {error}")
    screen.out.print(f"Wrote {output}")


def cases(
    name: str,
    count: Annotated[int, typer.Option(min=1, help="Draws of inputs and hyper-parameters.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
) -> None:
    """Inputs, hyper-parameters, losses and gradients in float64 as JSON, for an implementation in another language."""
    from poz import testing

    check_seed(seed)
    typer.echo(json.dumps(testing.cases(find([name])[0].name, count=count, seed=seed), indent=1, allow_nan=False))
