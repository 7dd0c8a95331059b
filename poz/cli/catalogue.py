"""poz plot | cases: what an objective gives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from poz._output import PICTURES
from poz._versions import versions
from poz.cli import screen
from poz.cli.screen import check_report, check_seed, find, stop


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
    found = {"versions": versions(["numpy"]), **testing.cases(find([name])[0].name, count=count, seed=seed)}
    typer.echo(json.dumps(found, indent=1, allow_nan=False))
