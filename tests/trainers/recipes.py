"""The recipes of docs/trainers.md, which the tests run as they stand there."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/trainers.md"


def recipe(heading):
    """The first Python of a section, compiled."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return compile(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1], f"docs/trainers.md, {heading}", "exec")
