"""poz show: what one objective is, on a terminal, as lines with tabs where it is piped, or as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from poz import peers
from poz._formula import readable
from poz.cli import screen
from poz.cli.screen import find, line, say
from poz.families import named
from poz.objective import Objective

Fact = dict[str, Any]
TABLES = {
    "answers": ("for", "because"),
    "claims": ("said to be for", "because"),
    "parameters": ("parameter", "default", "domain", "meaning"),
    "reduces_to": ("reduces to", "when"),
    "deviations": ("who", "does what", "here"),
    "used_by": ("used by", "as"),
    "elsewhere": ("elsewhere", "function or fact", "verdict"),
}


def show(
    name: str,
    latex: Annotated[bool, typer.Option("--latex", help="The formula in LaTeX.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """One objective: formula, what it answers, reads and takes, its deviations, and who computes it under which name."""
    spec = find([name])[0]
    facts = _facts(spec)
    if as_json:
        typer.echo(json.dumps(facts, indent=1, ensure_ascii=False, default=str))
    elif screen.out.is_terminal:
        _draw(facts, latex)
    else:
        for key, cells in _lines(facts, latex):
            line(key, *cells)


def _facts(spec: Objective) -> Fact:
    own = peers.together(one for one in peers.results()["records"] if one.get("objective") == spec.name)
    return {
        "name": spec.name,
        "title": spec.title,
        "paper": spec.paper,
        "equation": spec.equation,
        "aliases": list(spec.aliases),
        "about": " ".join((spec.function.__doc__ or "").split()),
        "formula": readable(spec.formula),
        "latex": spec.formula,
        "family": named(spec.family),
        "reads": [field for field in spec.family._fields if field in spec.reads],
        "optional": [field for field in spec.family._fields if field in spec.optional],
        "answers": [{**one._asdict(), "because": one.why} for one in spec.answers],
        "claims": [{**one._asdict(), "because": one.why} for one in spec.said if one.against],
        "parameters": [
            {
                "name": parameter,
                "default": default.name if isinstance(default, Objective) else default,
                "domain": domain.describe(),
                "meaning": domain.meaning,
                "unit": getattr(domain, "unit", "1"),
            }
            for parameter, (default, domain) in spec.params.items()
        ],
        "published": [{"where": where, "values": dict(values)} for where, values in spec.published],
        "held_constant": spec.gradient_stops,
        "whole_batch": spec.coupled,
        "reduces_to": [{"to": limit.to, "when": limit.why} for limit in spec.reduces_to],
        "deviations": [one._asdict() for one in spec.deviations],
        "used_by": list(_used(spec)),
        "elsewhere": [
            {
                "library": f"{one['library']} {one['version']}",
                "what": one.get("function") or one["does"],
                "verdict": peers.described(one, does=True),
            }
            for one in own
        ],
        "basis": spec.basis,
        "files": list(_files(spec)),
    }


def _used(spec: Objective) -> Iterator[Fact]:
    """By library, in the newest version that was called, the functions that compute it, and the name that each has there."""
    called = [
        one
        for one in peers.results()["records"]
        if one.get("objective") == spec.name and one["kind"] == "loss" and one["verdict"] != "cannot be called"
    ]
    for library in dict.fromkeys(one["library"] for one in called):
        versions = {one["version"] for one in called if one["library"] == library}
        newest = max(versions, key=lambda version: [int(part) for part in re.findall(r"\d+", version)])
        known = [one for one in called if (one["library"], one["version"]) == (library, newest)]
        yield {"library": library, "version": newest, "names": [_under(one) for one in known]}


def _under(record: Fact) -> str:
    bound = ", ".join(f"{name}={value!r}" for name, value in record["settings"].items())
    differs = bool(record["verdict"] == "differs")
    return f"{record['function']}" + " (differs)" * differs + f" (here {bound})" * bool(bound and not differs)


def _files(spec: Objective) -> Iterator[str]:
    """The objective's file, its reference's, and its kernel's where there is one."""
    family = spec.family.__module__.rpartition(".")[2]
    for part in ("objectives", "reference", "kernels"):
        folder = Path(*import_module(f"poz.{part}").__path__)
        if (path := folder / family / f"{spec.name}.py").exists():
            yield str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _rows(facts: Fact) -> dict[str, list[tuple[str, ...]]]:
    """What is listed, as cells."""
    return {
        **{key: [(one["to"], one["because"]) for one in facts[key]] for key in ("answers", "claims")},
        "parameters": [
            (
                one["name"],
                one["default"] if one["domain"].startswith("an objective") else repr(one["default"]),
                one["domain"],
                one["meaning"] + f" ({one['unit']})" * (one["unit"] != "1"),
            )
            for one in facts["parameters"]
        ],
        "reduces_to": [(one["to"], one["when"]) for one in facts["reduces_to"]],
        "deviations": [tuple(one.values()) for one in facts["deviations"]],
        "used_by": [(f"{one['library']} {one['version']}", "; ".join(one["names"])) for one in facts["used_by"]],
        "elsewhere": [tuple(one.values()) for one in facts["elsewhere"]],
    }


def _published(facts: Fact) -> Iterator[str]:
    for one in facts["published"]:
        used = "; ".join(f"{name} {', '.join(map(str, tried))}" for name, tried in one["values"].items())
        yield f"{used} ({one['where']})"


def _lines(facts: Fact, latex: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A fact each: what kind it is, and its cells."""
    lists = {"aliases": "alias", "files": "file", "parameters": "parameter", "deviations": "deviation"}
    rows = _rows(facts)
    for key, value in facts.items():
        if key == "latex":
            continue
        if key in rows:
            yield from ((lists.get(key, key), cells) for cells in rows[key])
        elif key == "published":
            yield from ((key, (text,)) for text in _published(facts))
        elif key in lists:
            yield from ((lists[key], (one,)) for one in value)
        elif value:
            text = (
                facts["latex"] if key == "formula" and latex else " ".join(value) if isinstance(value, list) else value
            )
            yield key, (text,)


def _draw(facts: Fact, latex: bool) -> None:
    """On a terminal."""
    say(f"{facts['name']}: {facts['title']}", style="bold")
    say(f"{facts['paper']}, {facts['equation']}")
    if facts["aliases"]:
        say(f"Also called {', '.join(facts['aliases'])}.")
    say(facts["about"])
    screen.out.print()
    if latex:
        screen.out.print(
            Text(f"  {facts['latex']}", style="cyan"), soft_wrap=True
        )  # or a break would be within a command
    else:
        say("\n".join(re.split(r"(?<=[,;])  ", facts["formula"])), style="cyan")
    screen.out.print()
    given = f"; where given: {', '.join(facts['optional'])}" * bool(facts["optional"])
    say(f"Reads {facts['family']}: {', '.join(facts['reads'])}{given}")
    rows = _rows(facts)
    for key in ("answers", "claims", "parameters"):
        _table(key, rows)
    for text in _published(facts):
        say(f"Published: {text}.")
    if facts["held_constant"]:
        say(f"Held constant in the gradient: {facts['held_constant']}.")
    if facts["whole_batch"]:
        say(f"Defined over the whole batch: {facts['whole_batch']}.")
    for key in ("reduces_to", "deviations", "used_by", "elsewhere"):
        _table(key, rows)
    say(f"Rests on: {facts['basis']}")
    say(f"Files: {', '.join(facts['files'])}")


def _table(key: str, rows: dict[str, list[tuple[str, ...]]]) -> None:
    if rows[key]:
        screen.table(TABLES[key], rows[key])
