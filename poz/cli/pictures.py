"""poz plot: pictures for papers and slides."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from poz.cli import screen
from poz.cli.params import read_params
from poz.cli.screen import find, stop
from poz.objective import Objective


def plot(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME[:PARAM=VALUE,...]", help="Objectives, as in dpo dpo:beta=0.5.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG, PDF or SVG file.")] = Path("poz.png"),
    what: Annotated[str, typer.Option(help="loss, gradient or both.")] = "both",
    scale: Annotated[
        str | None,
        typer.Option(
            help="shared: one axis; normalised: each by its largest slope; own: an axis for each. Shared, if that flattens none."
        ),
    ] = None,
    limits: Annotated[
        bool, typer.Option("--limits", help="On the way to each objective that it has as a limit.")
    ] = False,
    style: Annotated[str, typer.Option(help="paper (5.5 inches wide, letters of 8 points) or slide.")] = "paper",
    xlim: Annotated[
        tuple[str, str] | None, typer.Option(metavar="LOW HIGH", help="From where to where, as in --xlim -5 5.")
    ] = None,
    widest: Annotated[float | None, typer.Option(help="From minus this to this, in place of --xlim.")] = None,
    title: Annotated[str, typer.Option(help="Above the picture; the name of an objective that is alone.")] = "",
) -> None:
    """Loss and gradient against the margin, or what else an objective is drawn along, by its float64 reference."""
    from poz.plotting import approaching
    from poz.plotting import plot as draw

    if widest is not None and not 0 < widest < math.inf:
        stop(f"--widest must be a positive number; got {widest}.")
    if widest is not None and xlim is not None:
        stop("--widest and --xlim say the same. Leave one out.")
    ends = (-widest, widest) if widest is not None else xlim and _ends(*xlim)
    asked = [_asked(name) for name in names]
    try:
        shown = draw(
            [one for each in asked for one in (approaching(each) if limits else [each])],
            output, ends=ends, what=what, scale=scale, style=style, title=title,
        )  # fmt: skip
    except ValueError as error:
        stop(str(error))
    except OSError as error:
        stop(f"Cannot write {output}: {error}")
    screen.say("\n".join(filter(None, [shown.why, shown.still, shown.held, f"Wrote {output}"])))


def _ends(*given: str) -> tuple[float, float]:
    """The two numbers of --xlim."""
    try:
        low, high = map(float, given)
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        stop(f"--xlim takes two numbers, the smaller one first, as in --xlim -5 5; got {' '.join(given)}.")
    return low, high


def _asked(text: str) -> Objective:
    """An objective by its name, with hyper-parameters behind a colon; a value may have commas in it."""
    name, _, rest = text.partition(":")
    objective = find([name.strip()])[0]
    given: list[str] = []
    for part in rest.split(",") if rest else []:
        if "=" in part or not given:
            given.append(part)
        else:
            given[-1] += f",{part}"
    return objective.bind(**read_params(objective, given, f"{name}:"))
