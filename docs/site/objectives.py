"""A page per objective, from what it declares."""

from typing import Any

from repository import ROOT, code

import poz
from poz.objective import Objective


def nav(nav: list[Any]) -> None:
    """Adds them to "Objectives", by family."""
    section = next(entry["Objectives"] for entry in nav if "Objectives" in entry)
    for family in dict.fromkeys(spec.family.__name__ for spec in poz.zoo.values()):
        names = sorted(spec.name for spec in poz.zoo.values() if spec.family.__name__ == family)
        section.append({family: [{name: f"objectives/{name}.md"} for name in names]})


def pages() -> dict[str, str]:
    """All of them, and a list."""
    made = {f"objectives/{spec.name}.md": page(spec) for spec in poz.zoo.values()}
    rows = (f"| [`{o.name}`]({o.name}.md) | {o.title} | {o.family.__name__} | {o.paper} |" for o in poz.zoo.values())
    made["objectives/index.md"] = "\n".join(
        ("# Objectives", "", "| name | title | on | paper |", "|---|---|---|---|", *rows)
    )
    return made


def page(spec: Objective) -> str:
    """Of one."""
    family = spec.family.__module__.rpartition(".")[2]
    parts = [
        f"# {spec.name}: {spec.title}",
        " ".join((spec.function.__doc__ or "").split()),
        f"$$\n{spec.formula}\n$$",
        "## Reference",
        code(ROOT / "reference" / family / f"{spec.name}.py"),
    ]
    return "\n\n".join(parts)
