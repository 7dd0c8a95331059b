"""Records of an audit in words."""

from __future__ import annotations

from typing import Any


def described(record: dict[str, Any]) -> str:
    """In words: what reproduces it, where it differs, or why it cannot be called."""
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
    if record["kind"] == "log-probs" and "float32" in record:
        said += f": {record['float32']:.1e} in float32, {record['bfloat16']:.1e} in bfloat16"
    return said
