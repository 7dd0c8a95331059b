"""poz worlds: every objective in small worlds whose best policy is known."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from poz._nearest import nearest
from poz._output import PICTURES
from poz._versions import versions
from poz.cli import screen
from poz.cli.screen import STDOUT, check_report, check_seed, find, say, stop, table, write

EVERY = 30.0  # seconds between two lines of progress, where there is no terminal to draw a bar on
QUICK = {"seeds": 4, "settings": 4, "steps": 60}


def worlds(
    world: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this world; repeatable.")] = None,
    objective: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this objective; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The first of the draws of a world.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="4 seeds, 4 settings, 60 steps: a look, no evidence.")] = False,
    report: Annotated[
        Path | None, typer.Option("--json", help="Write every number here; - is standard output.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--plot", help="Write the heat map here.")] = None,
) -> None:
    """Small worlds whose best policy is known: which objective comes nearest, with equal budgets; docs/worlds.md."""
    check_seed(seed)
    check_report(report)
    check_report(picture, PICTURES)
    console = Console(stderr=True) if report == STDOUT else screen.out
    try:
        from poz.worlds import training  # noqa: F401 - which says that JAX is missing
    except ImportError as error:
        stop(str(error))
    from poz.worlds import WORLDS, budget
    from poz.worlds import picture as pictures
    from poz.worlds.batches import FAMILIES

    for name in world or []:
        if name not in WORLDS:
            stop(nearest("world", name, WORLDS))
    taken = [WORLDS[name] for name in dict.fromkeys(world or WORLDS)]
    chosen = find(list(dict.fromkeys(objective))) if objective else budget.objectives()
    for one in chosen:
        if one.family not in FAMILIES:
            known = ", ".join(family.__name__ for family in FAMILIES)
            stop(f"`{one.name}` is on {one.family.__name__}, which no world fills. Objectives on {known} are run.")
    names = {*(objective or []), *(one.name for one in chosen)}
    chosen = [one for one in budget.objectives() if one.name in names]
    if picture is not None:
        try:
            pictures.needs()
        except ImportError as error:
            stop(str(error))
    sizes = QUICK if quick else {"seeds": budget.SEEDS, "settings": budget.SETTINGS, "steps": budget.STEPS}
    given = [f"--world {name}" for name in world or []] + [f"--objective {name}" for name in objective or []]
    command = " ".join(["poz worlds", *given, f"--seed {seed}", *["--quick"] * quick])
    results = {"command": command, **_run(taken, chosen, seed, sizes)}
    _show(results, console)
    if report is not None:
        write(report, json.dumps(results, separators=(",", ":")).replace('{"objective"', '\n{"objective"') + "\n")
    if picture is not None:
        pictures.heat_map(results, picture)
    if not results["finished"]:
        raise typer.Exit(130)


def _run(taken: list[Any], chosen: list[Any], seed: int, sizes: dict[str, int]) -> dict[str, Any]:
    from poz.worlds import budget, digest, measure, runs

    begin = said = time.monotonic()
    spent = time.process_time()
    draws = runs.Draws(taken, range(seed, seed + sizes["seeds"]))
    found: list[dict[str, Any]] = []
    done = 0
    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("worlds", total=len(chosen))
        try:
            for records in runs.run(taken, chosen, draws, settings=sizes["settings"], steps=sizes["steps"]):
                found += records
                done += 1
                progress.update(task, advance=1, description=chosen[done - 1].name)
                if not console.is_terminal and time.monotonic() - said >= EVERY:
                    said = time.monotonic()
                    console.print(f"{done} of {len(chosen)}, {chosen[done - 1].name}, {said - begin:.0f} s")
        except KeyboardInterrupt:
            console.print(f"Stopped; {done} of {len(chosen)} objectives are finished.")
    left = {one.name: {w.name: why for w in taken if (why := budget.reason(one, w))} for one in chosen}
    return {
        "versions": versions(),
        "seed": seed,
        **sizes,
        "judgements": measure.JUDGEMENTS,
        "finished": done == len(chosen),
        "processor_seconds": round(time.process_time() - spent),
        "digest": digest.of_worlds(),
        "digests": {one.name: digest.of_objective(one) for one in chosen},
        "left_out": {name: where for name, where in left.items() if where},
        "reference": [runs.reference(one, draws) for one in taken],
        "results": found,
    }


def _show(results: dict[str, Any], console: Console) -> None:
    from poz.worlds import report

    found = report.cells(results)
    there = list(dict.fromkeys(world for _, world in found))
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        row = (found.get((name, world)) for world in there)
        rows.append([name, *("·" if cell is None else f"{cell.share.mean:.2f}{report.mark(cell)}" for cell in row)])
    table(["objective", *there], rows, console)
    say(
        "Regret over the reference's, mean of seeds: 0 is the best policy, 1 the reference; + better, - worse than the "
        "baseline of the family, beyond 95 %; ·: left out.",
        console,
    )
    for name, where in results["left_out"].items():
        for why in dict.fromkeys(where.values()):
            say(f"{name} is left out of {', '.join(w for w in where if where[w] == why)}: {why}.", console)
    used = ", ".join(f"{name} {version}" for name, version in results["versions"].items() if version != "absent")
    say(f"seed {results['seed']}, {results['seeds']} of them; {used}; digest {results['digest']}", console)
