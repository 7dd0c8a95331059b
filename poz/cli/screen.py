"""What the commands share: where they print, how they stop, what they are given."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Column
from rich.text import Text

import poz
from poz._output import check_output
from poz.objective import Objective
from poz.zoo import UnknownObjective

out = Console()
STDOUT = Path("-")
WIDE = 130  # columns of a table that goes into a page
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Objectives; all where none is given.")]


def folded(header: str) -> Column:
    """A column of which a narrow terminal cuts nothing off."""
    return Column(header, overflow="fold")


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
    Console(stderr=True).print(Text(message, style="red"))
    raise typer.Exit(code)


def versions() -> dict[str, str]:
    """Of Python, poz and what it is built on."""
    found = {"python": platform.python_version(), "poz": poz.__version__}
    for package in ("numpy", "torch", "jax", "triton", "trl"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
