"""A page per library that was judged: what its functions compute, from the results of `make audit`."""

import re
import sys
from typing import Any

from repository import ROOT

import poz
from poz.peers import described, results, together

sys.path.insert(0, str(ROOT / "tests/peers"))

import page as audited  # what writes docs/peers.md


def losses(records: list[dict[str, Any]]) -> str:
    """In the order of publication of their objectives."""
    found = sorted(together(records), key=lambda record: list(poz.zoo).index(record["objective"]))
    rows = (
        (
            audited.code(one["objective"]),
            described(one),
            audited.code(one["function"]),
            audited._does(one),
            one["version"],
        )
        for one in found
    )
    return audited.table(("objective", "verdict", "function", "does", "version"), rows)


PARTS = {
    "Its losses": ("loss", losses),
    "Its bugs": ("bug", audited._bugs),
    "Its log-probs": ("log-probs", audited._log_probs),
    "What it does": ("fact", lambda records: audited._facts([record | {"topic": ""} for record in records])),
}
ROW = re.compile(r"^\| ([^|]+?) ([^ |]+) \| (?=\d)", re.MULTILINE)
"""A library and its version, of the table of who was judged."""


def nav(nav: list[Any]) -> None:
    """Adds them beside the page of all."""
    section = next(entry["Check"] for entry in nav if "Check" in entry)
    section[section.index("peers.md")] = {"Other libraries": ["peers.md", *({name: _path(name)} for name in _names())]}


def pages() -> dict[str, str]:
    """All of them."""
    return {_path(name): _page(name) for name in _names()}


def linked(markdown: str) -> str:
    """docs/peers.md with a link from each library that was judged to its page."""
    known = _names()
    return ROW.sub(lambda row: f"| [{row[1]} {row[2]}]({_path(row[1])}) | " if row[1] in known else row[0], markdown)


def _page(name: str) -> str:
    """Of one, whose name need not stand in every row."""
    own = [record for record in results()["records"] if record["library"] == name]
    versions = ", ".join(dict.fromkeys(record["version"] for record in own))
    lines = [f"# {name}", f"What was run: {versions}. [All libraries](../peers.md) says what the verdicts mean."]
    for title, (kind, write) in PARTS.items():
        records = [record for record in own if record["kind"] == kind]
        if records and (text := write(records)):
            lines += [f"## {title}", text]
    made = "\n\n".join(lines).replace("](reports/", "](../reports/").replace(f"| {name} ", "| ")
    return re.sub(r"^\| `(\w+)` \|", _objective, made, flags=re.MULTILINE)


def _objective(cell: re.Match[str]) -> str:
    return f"| [`{cell[1]}`](../objectives/{cell[1]}.md) |" if cell[1] in poz.zoo else cell[0]


def _names() -> list[str]:
    return sorted({record["library"] for record in results()["records"]}, key=str.lower)


def _path(name: str) -> str:
    return f"peers/{re.sub('[^a-z0-9]+', '-', name.lower())}.md"
