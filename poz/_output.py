"""Whether a file can be written after the work, said before it; text that any terminal can show."""

from __future__ import annotations

import codecs
import io
import math
import os
import unicodedata
from itertools import groupby
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
    made, wide, before = "", False, error.object[: error.start][-1:]  # the spelled word before stands apart
    for sign, run in groupby(error.object[error.start : error.end], _script):
        for text in ["".join(run)] if sign else run:
            spelled = _run(sign, text)
            word = len(spelled) > 1 and spelled.isalpha()
            made += " " * ((word or wide) and (made or before)[-1:].isalnum() and spelled[:1].isalnum()) + spelled
            wide = word
    return made + " " * (wide and error.object[error.end :][:1].isalnum()), error.end


def _script(character: str) -> str:
    """What stands before what is lowered or raised: _ or ^, where it is."""
    return {"<sub>": "_", "<super>": "^"}.get(unicodedata.decomposition(character).split(" ")[0], "")


def _run(sign: str, run: str) -> str:
    plain = "".join(map(_spelling, run)) if not sign else unicodedata.normalize("NFKD", run).replace("\u2212", "-")
    return sign + (f"({plain})" if sign and len(plain) > 1 else plain)


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
    "½": "1/2",
    "∑": "sum",
    "∏": "prod",
    "√": "sqrt",
    "∈": "in",
    "∉": "not in",
    "≺": "<",
    "‖": "||",
    "⊙": "*",
    "∓": "-+",
    "ℓ": "l",
    "\u0302": "_hat",
    "\u0303": "_tilde",
    "\u0304": "_bar",
    "§": "section ",
    "λ": "lambda",
}


def _spelling(character: str) -> str:
    if character in _SPELLINGS:
        return _SPELLINGS[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK"):
        letter = name.split(" WITH ")[0].removesuffix(" SYMBOL").split()[-1]
        return letter.capitalize() if " CAPITAL " in name else letter.lower()
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?" * (not unicodedata.combining(character))


def plain(value: Any) -> Any:
    """As JSON has it: names for the places of a NamedTuple, paths as text, None for what is no finite number."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
