"""A page for each part of the library, with every name of tests/public_names.txt; what it says is the docstrings'."""

import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

from repository import ROOT

import poz

APART = re.compile(r"(<a\b.*?</a>|<pre\b.*?</pre>|<h\d.*?</h\d>)", re.DOTALL)
NAMED = re.compile(r"(<code>(poz\.[\w.]+)</code>)")
SOURCES = ROOT / "build/api"
"""The packages as they are installed: bench/, kernels/ and reference/ are parts of poz."""
SOURCES.mkdir(parents=True, exist_ok=True)  # mkdocstrings forgets a path that is not there when it is configured
FAMILIES = tuple(f"poz.{name}" for name in dir(poz.families) if hasattr(poz, name) and name[0].isupper())
PARTS = {
    "poz": ("What all objectives have in common", "poz"),
    "poz.families": ("What an objective is given", "poz.families", *FAMILIES),
    "poz.torch": ("Torch: fused log-probs, losses of any loop, and what carries state", "poz.torch"),
    "poz.jax": ("JAX: fused log-probs, and a training step", "poz.jax"),
    "poz.kernels": ("Triton", "poz.kernels"),
    "poz.integrations": ("Trainers of other libraries", "poz.integrations"),
    "poz.preferences": ("Data sets", "poz.preferences", "poz.columns"),
    "poz.rewards.transforms": ("Rewards: shaped, bounded, constrained", "poz.rewards", "poz.rewards.transforms"),
    "poz.rewards.metrics": ("Rewards: measured", "poz.rewards.metrics"),
    "poz.rewards.fits": ("Reward models: fitted", "poz.rewards.fits"),
    "poz.rewards.selection": ("Pairs: picked", "poz.rewards.selection"),
    "poz.advantages": ("What is made of rewards within a group of completions", "poz.advantages"),
    "poz.algorithms": ("What carries state or spans iterations", "poz.algorithms"),
    "poz.games": ("Exact games of preferences", "poz.games"),
    "poz.plotting": ("Pictures", "poz.plotting"),
    "poz.worlds": ("Small worlds whose best policy is known", "poz.worlds"),
    "poz.testing": ("To check a loss of yours", "poz.testing"),
    "poz.peers": ("What other libraries compute", "poz.peers"),
    "poz.objective": (
        "To write an objective",
        *("poz.objective", "poz.domains", "poz.terms", "poz.backends", "poz.purposes"),
    ),
    "poz.reference": ("The references, in float64", "poz.reference"),
    "poz.bench": ("Benchmarks", "poz.bench"),
}
"""Pages: what is there, and what the names there begin with; of several the longest."""
ALSO = {"poz.simpo.bind": "poz.Objective.bind", "poz.zoo.find": "poz.zoo.Zoo.find"}
"""Methods of what is an object."""
BESIDE = (
    "poz.integrations.axolotl",
    "poz.integrations.nemo_rl.Loss",
    "poz.integrations.swift.plugin",
    "poz.integrations.torchtune.PreferenceLoss",
    "poz.integrations.tunix.use",
)
"""Names that only a trainer's own environment can import."""


def nav(nav: list[Any]) -> None:
    """Adds a section."""
    nav.append({"API": ["api/index.md", *({part: f"api/{part}.md"} for part in PARTS)]})


def pages() -> dict[str, str]:
    """All of them, and a list."""
    _sources()
    names = sorted([*(ROOT / "tests/public_names.txt").read_text(encoding="utf-8").split(), *BESIDE, "poz.zoo.find"])
    rows = "\n".join(f"| [`{part}`]({part}.md) | {what} |" for part, (what, *_) in PARTS.items())
    said = "An objective, such as `poz.dpo`, is called, and bound, as [`poz.Objective`](poz.md#poz.Objective) says, and has"
    made = {
        "api/index.md": f"# API\n\n| | |\n|---|---|\n{rows}\n\n{said} [a page of its own](../objectives/index.md).\n"
    }
    for part in PARTS:
        made[f"api/{part}.md"] = "\n\n".join(_page(part, [name for name in names if _part(name) == part]))
    return made


def linked(page: str, place: str) -> str:
    """A page's HTML with names of the library, where they are in code and in no link, as links; `place` is the page's own."""

    def link(found: re.Match[str]) -> str:
        whole, name = found.groups()
        if name.removeprefix("poz.") in poz.zoo._named:
            to = os.path.relpath(f"objectives/{name.removeprefix('poz.')}.html", os.path.dirname(place))
            return f'<a href="{to}">{whole}</a>'
        return f'<autoref identifier="{ALSO.get(name, name)}" optional>{whole}</autoref>'

    parts = APART.split(page)
    parts[::2] = [NAMED.sub(link, part) for part in parts[::2]]
    return "".join(parts)


def _page(part: str, names: list[str]) -> Iterator[str]:
    """The docstring of the module, what there is for each objective, and each other name."""
    yield f"# {part} {{ #{part} }}"
    yield f"::: {part}\n    options: {{ show_root_heading: false, show_root_toc_entry: false, members: false }}"
    listed = [name for name in names if name.count(".") == 2 and name.rpartition(".")[2] in poz.zoo]
    if listed:
        rows = (f"| {_anchor(name)}`{name}` | {_of_objective(name)} |" for name in listed)
        yield "\n".join(("| | |", "|---|---|", *rows))
    shown: set[str] = set()
    for name in names:
        whole, _, last = name.rpartition(".")
        if (
            name in (part, *listed)
            or name.removeprefix("poz.") in poz.zoo
            or (whole in shown and not _is_module(whole))
        ):
            continue
        if name in ALSO or (whole == "poz.families" and f"poz.{last}" in shown):
            yield _anchor(name)
            continue
        shown.add(name)
        options, there = ["heading_level: 2"], _there(name)
        if there != name:
            yield _anchor(name)
            options += [f"heading: {name}", f"toc_label: {last}"]
        elif _is_module(name) and any(one.startswith(f"{name}.") for one in names):
            options += ["members: false"]
        yield f"::: {there}\n    options: {{ {', '.join(options)} }}"


def _anchor(name: str) -> str:
    return f"[](){{ #{name} }}"


def _of_objective(name: str) -> str:
    spec = poz.zoo[name.rpartition(".")[2]]
    return f"[{spec.title}](../objectives/{spec.name}.md)"


def _is_module(name: str) -> bool:
    return (SOURCES / name.replace(".", "/")).is_dir() or (SOURCES / f"{name.replace('.', '/')}.py").exists()


def _there(name: str) -> str:
    """Where a name is defined that hides the module of that name."""
    file = SOURCES / f"{name.replace('.', '/')}.py"
    if name == "poz.zoo":
        return "poz.zoo.Zoo"
    taken = f"import {file.stem} as {file.stem}\n"
    if file.exists() and taken in (file.parent / "__init__.py").read_text(encoding="utf-8"):
        return f"{name}.{file.stem}"
    return name


def _part(name: str) -> str:
    """The page of a name."""
    begun = [
        (len(one), part) for part, (_, *found) in PARTS.items() for one in found if f"{name}.".startswith(f"{one}.")
    ]
    return max(begun)[1]


def _sources() -> None:
    """Copies the packages together."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    python = shutil.ignore_patterns("__pycache__", "*.json", "*.jsonl", "*.pyi")
    for name in ("", "bench", "kernels", "reference"):
        shutil.copytree(ROOT / (name or "poz"), SOURCES / "poz" / name, ignore=python, dirs_exist_ok=True)
