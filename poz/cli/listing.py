"""poz list: which objectives there are, and which are for what is at hand."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, Any

import typer

import poz
from poz.cli import screen
from poz.cli.screen import line, stop
from poz.objective import Objective
from poz.purposes import PURPOSES


def list_(
    answers: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="PURPOSE", help="Only what answers this, such as ties; repeatable."),
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only objectives on this family, such as Ranked.")] = None,
    reads: Annotated[
        list[str] | None, typer.Option(help="Only those that read this field at their defaults, or may; repeatable.")
    ] = None,
    reference_free: Annotated[
        bool | None, typer.Option("--reference-free/--with-reference", help="Whether no reference policy is needed.")
    ] = None,
    purposes: Annotated[
        bool, typer.Option("--purposes", help="What one may ask --for, and how many of these objectives answer it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Objectives, in order of publication: a table, or, where it is piped, a line each with tabs between its fields."""
    asked: dict[str, Any] = {"answers": answers or (), "family": family, "reads": reads or ()}
    asked["reference_free"] = reference_free
    try:
        found = poz.zoo.find(**asked)
    except ValueError as error:
        stop(str(error))
    if not found and not as_json:
        stop(f"No objective is all of that with its defaults. {_at_settings(asked)}{_way_out(asked)}")
    if purposes:
        _purposes(found, as_json)
    else:
        _objectives(found, as_json, answers or [])
    if not found:
        raise typer.Exit(2)


def _way_out(asked: dict[str, Any]) -> str:
    """Which option to leave out, and how many are left then."""
    options = {"answers": "--for", "family": "--family", "reads": "--reads", "reference_free": "--reference-free"}
    left = {
        option: len(poz.zoo.find(**{key: one for key, one in asked.items() if key != name}))
        for name, option in options.items()
        if asked[name] not in ((), None)
    }
    ways = [f"{option} (then {count})" for option, count in left.items() if count]
    return f"Leave out {' or '.join(ways)}." if ways else "Leave out two of the options."


def _at_settings(asked: dict[str, Any]) -> str:
    """Which of them read what was asked for where one hyper-parameter is not at its default."""
    rest: dict[str, list[str]] = {}
    for spec in poz.zoo.find(**asked | {"reads": ()}) if asked["reads"] else []:
        if one := _setting(spec, {*asked["reads"]}):
            rest.setdefault(one, []).append(spec.name)
    said = [f"with {one} {', '.join(names)}" for one, names in rest.items()]
    return f"At other settings: {'; '.join(said)}. " * bool(said)


def _setting(spec: Objective, fields: set[str]) -> str:
    for name, (_, domain) in spec.params.items():
        for value in getattr(domain, "options", ()) or getattr(domain, "usual", ())[1:]:
            with suppress(ValueError):  # some are not defined alone
                bound = spec.bind(**{name: value})
                if fields <= bound.reads | bound.optional:
                    return f"{name}={value!r}"
    return ""


def _objectives(found: list[Objective], as_json: bool, asked: list[str]) -> None:
    if as_json:
        free = {spec.name for spec in poz.zoo.find(reference_free=True)}
        rows = [
            _row(spec) | {"reference_free": spec.name in free, "answers": {one.to: one.why for one in spec.answers}}
            for spec in found
        ]
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    elif not screen.out.is_terminal:
        for spec in found:
            row = _row(spec) | {"answers": [one.to for one in spec.answers]} | dict(enumerate(_because(spec, asked)))
            line(*(" ".join(cell) if isinstance(cell, list) else cell for cell in row.values()))
    else:
        screen.table(
            ("name", "family", "paper", "title"),
            [
                (
                    spec.name,
                    spec.family.__name__,
                    spec.paper.removeprefix("arXiv:"),
                    "\n".join((_titled(spec), *_because(spec, asked))),
                )
                for spec in found
            ],
        )


def _purposes(found: list[Objective], as_json: bool) -> None:
    rows = [(one, text, [spec.name for spec in found if one in _served(spec)]) for one, text in PURPOSES.items()]
    if as_json:
        said = [dict(zip(("purpose", "means", "objectives"), row, strict=True)) for row in rows]
        typer.echo(json.dumps(said, indent=1, ensure_ascii=False))
    elif screen.out.is_terminal:
        screen.table(("for", "objectives", "means"), [(one, str(len(names)), text) for one, text, names in rows])
    else:
        for one, text, names in rows:
            line(one, str(len(names)), text)


def _row(spec: Objective) -> dict[str, Any]:
    """What the list says of an objective, in the order of its fields."""
    return {
        "name": spec.name,
        "family": spec.family.__name__,
        "paper": spec.paper,
        "title": spec.title,
        "aliases": list(spec.aliases),
        "reads": [field for field in spec.family._fields if field in spec.reads],
        "optional": [field for field in spec.family._fields if field in spec.optional],
    }


def _titled(spec: Objective) -> str:
    return spec.title + f" ({', '.join(spec.aliases)})" * bool(spec.aliases)


def _served(spec: Objective) -> set[str]:
    return {one.to for one in spec.answers}


def _because(spec: Objective, asked: list[str]) -> list[str]:
    """Why it answers what was asked for."""
    return [f"{one.to}: {one.why}" for one in spec.answers if one.to in asked]
