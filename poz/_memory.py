"""Sizes of extra memory as people write them."""

from __future__ import annotations

import re

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*")


def bytes_of(memory: int | str) -> int:
    """A size in bytes: an integer as it is, a string such as ``"64MiB"``, ``"1.5GB"`` or ``"4096"`` read.

    Raises:
        ValueError: it cannot be read or is not positive.
        TypeError: it is neither an integer nor a string.
    """
    if isinstance(memory, bool) or not isinstance(memory, (int, str)):
        raise TypeError(
            f"`memory` must be a number of bytes or a string such as '512MiB'; got {type(memory).__name__}."
        )
    size = memory
    if isinstance(memory, str):
        match = _SIZE.fullmatch(memory)
        if match is None or match[2].upper() not in _UNITS:
            raise ValueError(f"`memory` must read like '512MiB', '1.5GB' or a number of bytes; got {memory!r}.")
        size = int(float(match[1]) * _UNITS[match[2].upper()])
    if int(size) <= 0:
        raise ValueError(f"`memory` must be positive; got {memory!r}.")
    return int(size)


def text_of(size: int) -> str:
    """A size in bytes as text, rounded up so that reading it back never gives less."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{-(-size // unit)}{name}" if size >= 10 * unit else f"{-(-size * 10 // unit) / 10:.1f}{name}"
    return f"{size}B"
