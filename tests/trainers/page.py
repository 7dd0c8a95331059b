"""The table of docs/trainers.md, from tests/trainers/results and not_run.toml: python tests/trainers/page.py writes it."""

import json
import sys
import tomllib
from pathlib import Path

from described import files

from poz._digest import older, sentences

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/trainers.md"
BEGIN, END = "<!-- measured: python tests/trainers/page.py -->\n", "<!-- end -->\n"
LAWS = ("own", "reference", "accumulation", "start")


def table() -> str:
    """A row per trainer that was run; below what is not known to be of the files as they are, and who was not run."""
    states = []
    rows = ["| trainer | versions | tests | " + " | ".join(LAWS) + " |", "|--|--|--|" + "--|" * len(LAWS)]
    for file in sorted((HERE / "results").glob("*.json")):
        row = json.loads(file.read_text(encoding="utf-8"))
        versions = ", ".join(f"{package} {version}" for package, version in row["versions"].items())
        laws = [
            f"{row['laws'][law]:.0e}" if row["laws"].get(law) else "0" if law in row["laws"] else "" for law in LAWS
        ]
        states.append((file.stem, older(row.get("digest"), files(file.stem))))
        rows.append(f"| {file.stem} | {versions} | {row['tests']} | " + " | ".join(laws) + " |")
    skipped = tomllib.loads((HERE / "not_run.toml").read_text(encoding="utf-8"))
    lines = [f"* {one}" for one in sentences(states, "the tests, the versions and poz's integration")]
    lines += [f"* Not run: **{name}**. {why}" for name, why in skipped.items()]
    return "\n".join([*rows, "", *lines]) + "\n"


def split(page: str) -> tuple[str, str, str]:
    """What stands before the table, the table, and what follows it."""
    before, rest = page.split(BEGIN)
    inside, after = rest.split(END)
    return before, inside, after


if __name__ == "__main__":
    before, _, after = split(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(before + BEGIN + table() + END + after, encoding="utf-8")
    missing = [
        f"{name}: {why}" for name, why in tomllib.loads((HERE / "not_run.toml").read_text(encoding="utf-8")).items()
    ]
    print(*missing, sep="\n", file=sys.stderr)
