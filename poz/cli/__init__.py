"""The command line: poz list | show | plot | verify | cases | audit | worlds | demo | bench | scale. Needs the extra `cli`."""
# ruff: noqa: E402 - what is missing is said before anything fails

from __future__ import annotations

from typing import Annotated

from poz._extras import require

require("The command line", "cli", "typer", "rich")

import typer

import poz
from poz.cli import screen
from poz.cli.audit import audit
from poz.cli.catalogue import cases
from poz.cli.listing import list_
from poz.cli.pictures import plot
from poz.cli.plain import Command, Group
from poz.cli.running import bench, demo, scale
from poz.cli.showing import show
from poz.cli.verify import verify
from poz.cli.worlds import worlds

app = typer.Typer(
    cls=Group,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Preference-optimization objectives, exact and fused.",
)
app.command("list", cls=Command)(list_)
for command in (show, plot, verify, cases, audit, worlds, demo, bench, scale):
    app.command(cls=Command)(command)


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        screen.out.print(poz.__version__)
        raise typer.Exit()
