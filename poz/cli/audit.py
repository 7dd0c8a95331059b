"""poz audit: what the losses of the libraries that are installed are."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from poz.cli import screen
from poz.cli.screen import STDOUT, check_report, check_seed, find, folded, stop, versions, write


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
    known = peers.libraries()
    plain = {_plain(one): one for one in known}
    library = [plain.get(_plain(one), one) for one in library or ()]
    places = [one.partition("=") for one in checkout or ()]
    places = [(plain.get(_plain(place), place), "=", path) for place, _, path in places]
    for given in checkout or ():
        if not given.partition("=")[2]:
            stop(f"--checkout takes a library and a folder, as in HALOs=../HALOs; got {given!r}.")
    if unknown := [one for one in [*library, *(place[0] for place in places)] if one not in known]:
        stop(f"There is no library {unknown[0]!r}; there are {', '.join(sorted(known, key=str.lower))}.")
    for place, _, path in places:
        try:
            peers.checkout(place, Path(path))
        except ValueError as error:
            stop(str(error))
    name = find([objective])[0].name if objective else ""
    say = Console(stderr=True) if report == STDOUT else screen.out
    asked = [known[one] for one in dict.fromkeys(library or known)]
    there = [one for one in asked if one.version()]
    records: list[dict[str, Any]] = []
    with Console(stderr=True).status("audit") as status, contextlib.redirect_stdout(sys.stderr):  # what libraries print
        for one in there:
            for record in peers.audit(one, name, cases=cases, seed=seed):
                records.append(record)
                status.update(f"{one.name}: {len(records)} judged")
    table = Table(*map(folded, ("library", "function or fact", "objective", "verdict")))
    for record in records:
        cells = f"{record['library']} {record['version']}", record.get("function") or record["does"]
        table.add_row(*map(Text, (*cells, record.get("objective", ""), peers.described(record, does=True))))
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
        head = {"versions": versions(), "objective": name, "cases": cases, "seed": seed}
        write(report, json.dumps({**head, "records": records}, indent=1) + "\n")
    raise typer.Exit(not called)


def _plain(name: str) -> str:
    """A library's name however it is spelled: TRL, ms_swift."""
    return re.sub(r"[-_ ]", "", name).lower()
