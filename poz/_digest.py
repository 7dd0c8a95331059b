"""A digest of files, which results carry, so that it can be said of them that what they describe has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest(files: Iterable[Path]) -> str:
    """12 hexadecimal digits of SHA-256 over the texts, of whatever names, in whatever order, with whatever ends of lines."""
    texts = sorted(hashlib.sha256(b"\n".join(file.read_bytes().splitlines())).hexdigest() for file in {*files})
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def older(given: str | None, files: Iterable[Path]) -> bool | None:
    """Whether a result is of other texts than these are now; None where it has no digest."""
    return None if given is None else given != digest(files)


def sentences(results: Iterable[tuple[str, bool | None]], described: str) -> list[str]:
    """What a page has to say of results, by name with whether they are `older`, that may not be of `described` as it is."""
    kinds = {
        True: f"Of an older state of {described}",
        None: f"Without a digest of {described}, so that it is not known whether these have changed since",
    }
    names: dict[bool | None, list[str]] = {True: [], None: [], False: []}
    for name, kind in results:
        names[kind].append(name)
    return [f"{said}: {', '.join(names[kind])}." for kind, said in kinds.items() if names[kind]]
