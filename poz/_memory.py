"""Sizes of extra memory as people write them."""

from __future__ import annotations

import re

_UNITS = {"": 0, "B": 0, **{f"{letter}{tail}": power for power, letter in enumerate("KMGT", 1) for tail in ("B", "IB")}}
_SIZE = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*([A-Za-z]*)\s*")


def bytes_of(memory: int | str) -> int:
    """A size in bytes: an integer as it is, text such as "64MiB", "1.5GB" or "4096" read.

    Raises:
        TypeError: Neither an integer nor text.
        ValueError: It cannot be read, or is not positive.
    """
    if isinstance(memory, bool) or not isinstance(memory, (int, str)):
        raise TypeError(f"memory must be a number of bytes or text such as '512MiB'; got {type(memory).__name__}.")
    if isinstance(memory, int):
        size = memory
    else:
        read = _SIZE.fullmatch(memory)
        unit = read[2].upper() if read else None
        if read is None or unit not in _UNITS:
            raise ValueError(f"memory must read like '512MiB', '1.5GB' or a number of bytes; got {memory!r}.")
        size = int(float(read[1]) * (1024 if "I" in unit else 1000) ** _UNITS[unit])
    if size <= 0:
        raise ValueError(f"memory must be positive; got {memory!r}.")
    return size


def text_of(size: int) -> str:
    """A size as text, rounded up, so that reading it back never gives less."""
    for power, name in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        unit = 1024**power
        if size >= 10 * unit:
            return f"{-(-size // unit)}{name}"
        if size >= unit:
            return f"{-(-size * 10 // unit) / 10:.1f}{name}"
    return f"{size}B"
