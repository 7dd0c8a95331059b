"""Of what results were computed: a digest of the code of the worlds, and of each objective's formula."""

from __future__ import annotations

import ast
import hashlib
import inspect
from pathlib import Path

from poz.objective import Objective

FILES: tuple[str, ...] = (
    "_world",
    "annotators",
    "batches",
    "budget",
    "certain",
    "clean",
    "cycles",
    "displacement",
    "few",
    "flips",
    "labels",
)
FILES += ("language", "length", "measure", "runs", "ties", "training", "wrong_reference")


def of_worlds() -> str:
    """Of all that draws, trains, chooses and measures."""
    here = Path(__file__).parent
    return _hash("".join(_plain(here / f"{name}.py") for name in FILES))


def of_objective(objective: Objective) -> str:
    """Of the file of its formula, what it declares left out."""
    return _hash(_plain(Path(inspect.getfile(objective.function))))


def _plain(file: Path) -> str:
    """The code without comments, layout, docstrings, decorators (which declare) and imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "World":
            node.args = [node.args[0], *node.args[3:]]  # sentences and purposes decide no number
    return ast.unparse(tree)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
