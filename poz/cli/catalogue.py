"""poz cases: what an objective gives."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from poz._versions import versions
from poz.cli.screen import check_seed, find


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
