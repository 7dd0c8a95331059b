"""poz audit: what the losses of the libraries that are installed are."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from poz._nearest import nearest
from poz._versions import versions
from poz.cli import screen
from poz.cli.screen import STDOUT, check_report, check_seed, find, say, stop, write


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

    check_seed(seed)
    check_report(report)
    places = _places(checkout or ())
    asked = [peers.libraries()[_named(one)] for one in dict.fromkeys(library or peers.libraries())]
    name = find([objective])[0].name if objective else ""
    console = Console(stderr=True) if report == STDOUT else screen.out
    there = [one for one in asked if one.version()]
    records: list[dict[str, Any]] = []
    with Console(stderr=True).status("audit") as status, contextlib.redirect_stdout(sys.stderr):  # what libraries print
        for one in there:
            found = []
            for record in peers.audit(one, name, cases=cases, seed=seed):
                found.append(record)
                status.update(f"{one.name}: {len(records) + len(found)} judged")
            if found and one.name in places and all(record["verdict"] == "cannot be called" for record in found):
                stop(
                    f"Nothing of {one.name} can be called in {places[one.name]}. Give the folder that a clone of it made."
                )
            records += found
    _show(records, console, examples=bool(objective or library))
    if there and not records:
        say(
            "Nothing is known of that: leave --objective out, or see `poz show` for what other libraries have.", console
        )
    if absent := [one.name for one in asked if one not in there]:
        say(f"Not installed, nor given as --checkout: {', '.join(absent)}.", console)
    called = [record for record in records if record["verdict"] != "cannot be called"]
    say(f"{len(called)} of {len(records)} called", console)
    if report is not None:
        head = {"versions": versions(), "objective": name, "cases": cases, "seed": seed}
        write(report, json.dumps({**head, "records": records}, indent=1) + "\n")
    raise typer.Exit(not called)


def _places(checkout: Iterable[str]) -> dict[str, str]:
    """The folders that libraries are read from, by their names."""
    from poz import peers

    places: dict[str, str] = {}
    for given in checkout:
        name, _, path = given.partition("=")
        if not path:
            stop(f"--checkout takes a library and a folder, as in HALOs=../HALOs; got {given!r}.")
        places[_named(name)] = path
    for name, path in places.items():
        try:
            peers.checkout(name, Path(path))
        except ValueError as error:
            stop(str(error))
    return places


def _named(name: str) -> str:
    """The library of that name, however it is spelled: TRL, ms_swift."""
    from poz import peers

    known = {_plain(one): one for one in peers.libraries()}
    if _plain(name) not in known:
        stop(nearest("library", name, known.values()))
    return known[_plain(name)]


def _show(records: list[dict[str, Any]], console: Console, examples: bool) -> None:
    """A table, or, where it is piped, a line each with tabs between its fields; and the smallest examples."""
    from poz import peers

    rows = [
        (
            f"{record['library']} {record['version']}",
            record.get("function") or record["does"],
            record.get("objective", ""),
            peers.described(record, does=True),
        )
        for record in records
    ]
    if rows and console.is_terminal:
        screen.table(("library", "function or fact", "objective", "verdict"), rows, console)
    for row in rows if not console.is_terminal else ():
        typer.echo("\t".join(row), err=console.stderr)
    if records:
        say("docs/peers.md says what the verdicts mean.", console)
    for record in records if examples else ():
        for what in ("with", "example"):
            if what in record:
                said = f"{record['library']}, {record['function']}, {what}: {record[what]}"
                say(said, console)


def _plain(name: str) -> str:
    """A name without what people write otherwise."""
    return re.sub(r"[-_ ]", "", name).lower()
