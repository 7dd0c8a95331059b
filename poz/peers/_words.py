"""Records of an audit in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Record = dict[str, Any]


def described(record: Record, *, does: bool = False) -> str:
    """In words: what reproduces it, where it differs, and with `does` why that is, or why it cannot be called."""
    said = str(record["verdict"])
    if record.get("settings") and said == "equal under settings":
        said = "equal with " + ", ".join(f"{name}={value!r}" for name, value in record["settings"].items())
    if record.get("but_for"):
        said += f", but for {', '.join(record['but_for'])}"
    if record.get("dtype") == "float32":
        said += ", in float32"
    if "where" in record:
        said += f": {record['where']} {record['theirs']}, not {record['right']}"
    for key in ("problem", "why"):
        said += f": {record[key]}" if key in record else ""
    if "got" in record:
        said += f": {record['got']}" + (f", right is {record['right']}" if "right" in record else "")
    if does and record["kind"] == "loss" and record["verdict"] == "differs" and record["does"]:
        said += f": it {record['does']}"
    if record.get("older"):
        said += ", of an older state of its row or reference"
    if record["kind"] == "log-probs" and "float32" in record:
        said += f": {record['float32']:.1e} in float32, {record['bfloat16']:.1e} in bfloat16"
    return said


def together(records: Iterable[Record]) -> list[Record]:
    """Records that say the same of several versions as one, whose `version` names them all."""
    found: dict[tuple[str, ...], Record] = {}
    for record in records:
        parts = ("library", "kind", "objective", "function", "key", "does", "given", "topic")
        key = *(str(record.get(part, "")) for part in parts), described(record)
        before = f"{found[key]['version']}, " if key in found else ""
        found[key] = {**record, "version": before + record["version"]}
    return list(found.values())
