"""Says before the work whether a file can be written after it."""

from __future__ import annotations

import os
from pathlib import Path

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
