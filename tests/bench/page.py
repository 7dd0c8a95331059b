"""What docs/benchmarks.md says of the state of bench/results: python tests/bench/page.py writes it."""

import json
from pathlib import Path

from poz._digest import older, sentences
from poz.bench.report import described

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- state: python tests/bench/page.py -->\n", "<!-- end -->\n"


def state() -> str:
    """A line for each kind of result that may not be of the files as they are."""
    results = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in ROOT.glob("bench/results/*.json")}
    states = [(name, older(one.get("digest"), described(one["device"]))) for name, one in sorted(results.items())]
    return "".join(f"{one}\n" for one in sentences(states, "the benchmarks and of what they measure"))


def split(page: str) -> tuple[str, str, str]:
    """What stands before it, it, and what follows."""
    before, rest = page.split(BEGIN)
    inside, after = rest.split(END)
    return before, inside, after


if __name__ == "__main__":
    before, _, after = split(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(before + BEGIN + state() + END + after, encoding="utf-8")
