"""Worked values of an objective, from tests/witness: inputs, hyper-parameters, and losses that share nothing with poz."""

import importlib.util
import sys
from typing import Any, NamedTuple

import numpy as np
from repository import ROOT

from poz.objective import Objective

DIGITS = 20


class Example(NamedTuple):
    """One call, and what the textbook formula gives in 50 digits."""

    fields: dict[str, Any]
    params: dict[str, Any]
    losses: list[str]


def examples(spec: Objective, count: int = 3) -> list[Example]:
    """The rows nearest to the defaults, with the fewest numbers of each set of hyper-parameters; zeros where nothing else is."""
    found: dict[str, Any] = {}

    def effort(row: Any) -> tuple[bool, bool, int, int]:
        changed = sum(value != spec.values.get(name) for name, value in row.params.items())
        return (
            not np.any(row.losses),
            abs(float(np.max(row.losses))) > 1e6,
            changed,
            len(str(row.fields)),
        )  # no overflow, where there is another

    for row in sorted(_witness().of(spec.name).ROWS, key=effort):
        found.setdefault(str(row.params), row)
    return [_example(spec, row) for row in list(found.values())[:count]]


def _example(spec: Objective, row: Any) -> Example:
    losses = _witness().losses(spec.name, row.fields, row.params)
    return Example(_typed(spec, row.fields), dict(row.params), [_written(loss) for loss in losses])


def _written(loss: Any) -> str:
    from mpmath import nstr

    return str(nstr(loss, DIGITS))


def _typed(spec: Objective, fields: dict[str, Any]) -> dict[str, Any]:
    """Numbers as the fields hold them: 1 where an id or a mask is meant, else 1.0."""
    from poz.families import layout_of

    kinds = {name: content for name, (_, content) in layout_of(spec.family).shapes.items()}

    def cast(value: Any, kind: str) -> Any:
        if isinstance(value, list | tuple):
            return [cast(one, kind) for one in value]
        return {"integer": int, "mask": bool}.get(kind, float)(value)

    return {name: cast(value, kinds[name]) for name, value in fields.items() if value is not None}


def _witness() -> Any:
    if "witness" not in sys.modules:
        spec = importlib.util.spec_from_file_location("witness", ROOT / "tests/witness/__init__.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["witness"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["witness"])
    return sys.modules["witness"]
