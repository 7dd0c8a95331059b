"""Says before the work whether a file can be written after it, and writes it whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
    needed = [path, folder] if path.is_file() else [path if path.exists() else folder]
    if not all(os.access(one, os.W_OK) for one in needed):
        raise ValueError(f"{path} may not be written.")


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file to write to, which takes the place of `path` once the with-block has ended well, and is gone otherwise.

    It is a neighbour of `path` with the same ending; a device or a pipe is written to itself.
    """
    path = Path(path)
    if path.exists() and (not path.is_file() or path.parts[:2] == ("/", "dev")):  # a stream may lead to a file
        yield path
        return
    target = path.resolve()
    fresh = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        yield fresh
        if target.exists():
            shutil.copymode(target, fresh)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
