"""What the commands share: where they print, how they stop, what they are given."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

import poz
from poz._output import check_output
from poz.cli.plain import wrapped
from poz.objective import Objective
from poz.zoo import UnknownObjective

out = Console()
STDOUT = Path("-")
WIDE = 130  # columns of a table that goes into a page
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Objectives; all where none is given.")]


def say(text: str, console: Console | None = None, style: Any = "") -> None:
    """Broken between words on a terminal, whatever its width; in a pipe as it is."""
    console = console or out
    lines = [wrapped(line, console.width) if console.is_terminal else line for line in text.split("\n")]
    console.print(Text("\n".join(lines), style=style), soft_wrap=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]], console: Console | None = None) -> None:
    """A table; where its words do not fit beside each other, a few lines for each row, which begin with the column's name."""
    console, texts = console or out, [[Text(x) if isinstance(x, str) else x for x in row] for row in rows]
    columns = [[Text(header), *cells] for header, *cells in zip(headers, *texts, strict=True)]
    widths = [max((cell_len(word) for cell in column for word in cell.plain.split()), default=0) for column in columns]
    room = console.width - sum(widths) - 3 * len(widths) - 1
    if room < 0:
        for row in texts:
            for header, cell in zip(headers, row, strict=True):
                if cell.plain:
                    say(f"{header}: {cell}" if header else cell.plain, console, cell.style)
            console.print()
        return
    wanted = [max(cell_len(cell.plain) for cell in column) for column in columns]
    for left, place in enumerate(sorted(range(len(widths)), key=lambda place: wanted[place] - widths[place])):
        more = min(wanted[place] - widths[place], room // (len(widths) - left))
        widths[place], room = widths[place] + more, room - more
    made = Table(*(Column(header, width=width) for header, width in zip(headers, widths, strict=True)))
    for row in texts:
        made.add_row(*row)
    console.print(made)


def line(*cells: str) -> None:
    """For a pipe: the cells with tabs between them, in whatever characters it takes."""
    sys.stdout.write("\t".join(" ".join(cell.split()) for cell in cells) + "\n")


def find(names: list[str]) -> list[Objective]:
    """Objectives by their names."""
    try:
        return [poz.zoo[name] for name in names]
    except UnknownObjective as error:
        stop(str(error))


def check_report(path: Path | None, endings: tuple[str, ...] = ()) -> None:
    """Stops, before the work, where nothing could be written after it."""
    if path == STDOUT and not endings:
        return
    try:
        if path is not None:
            check_output(path, endings)
    except ValueError as error:
        stop(str(error))


def write(report: Path, text: str) -> None:
    """To a file, or to standard output."""
    if report == STDOUT:
        typer.echo(text, nl=False)
        return
    try:
        report.write_text(text, encoding="utf-8")
    except OSError as error:
        stop(f"Cannot write {report}: {error}")


def check_seed(seed: int) -> None:
    """Stops where NumPy takes no such seed."""
    if not 0 <= seed < 2**32:
        stop(f"--seed must be a whole number from 0 to {2**32 - 1}; got {seed}.")


def stop(message: str, code: int = 2) -> NoReturn:
    """Ends with a sentence on standard error."""
    say(message, Console(stderr=True), "red")
    raise typer.Exit(code)
