"""Whether a file can be written after the work, said before it; text that any terminal can show; names that are none."""

from __future__ import annotations

import codecs
import difflib
import io
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PICTURES = (".png", ".pdf", ".svg")


def check_output(path: Path, endings: tuple[str, ...] = ()) -> None:
    """Refuses a path that cannot become a file, or has another ending than `endings`, where those are given.

    Raises:
        ValueError: With what is wrong.
    """
    folder = path.resolve().parent
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Name a file in it.")
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"{path} must end in {', '.join(endings)}.")
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder} to write {path.name} to.")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ValueError(f"{path} may not be written.")


def spell_out(stream: Any) -> None:
    """Characters that the stream cannot encode are spelled, such as beta for β, instead of ending the program."""
    codecs.register_error("poz.spelled", _spelled)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="poz.spelled")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelling, error.object[error.start : error.end])), error.end


_SPELLINGS = {
    "≤": "<=",
    "≥": ">=",
    "→": "->",
    "−": "-",
    "∞": "inf",
    "≠": "!=",
    "≈": "~",
    "∝": "~",
    "≻": ">",
    "–": "-",
    "…": "...",
    "×": "x",
    "±": "+-",
    "²": "^2",
    "³": "^3",
    "ᵀ": "^T",
    "½": "1/2",
    "§": "section ",
    "λ": "lambda",
}


def _spelling(character: str) -> str:
    if character in _SPELLINGS:
        return _SPELLINGS[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK"):
        letter = name.split(" WITH ")[0].split()[-1]
        return letter.capitalize() if " CAPITAL " in name else letter.lower()
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?" * (not unicodedata.combining(character))


def nearest(what: str, name: str, known: Iterable[str]) -> str:
    """That there is no such thing, and what may have been meant, in two sentences."""
    same = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), same, n=3, cutoff=0.5)
    hint = (
        f"Did you mean {' or '.join(repr(same[one]) for one in near)}?"
        if near
        else f"There are {', '.join(sorted(same.values(), key=str.lower))}."
    )
    return f"There is no {what} {name!r}. {hint}"
