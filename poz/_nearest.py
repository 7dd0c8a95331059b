"""Names that are none: what may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


def near_to(name: str, known: Iterable[str], cutoff: float = 0.5) -> list[str]:
    """At most three known names that begin so, or else are near; where none is, of a mapping those whose text has the word."""
    same = {one.lower(): one for one in known}
    begun = [one for one in same if len(name) > 2 and one.startswith(name.lower())]
    near = begun[:3] or difflib.get_close_matches(name.lower(), same, n=3, cutoff=cutoff)
    if not near and isinstance(known, Mapping) and len(name) > 3:
        near = [one for one in same if name.lower() in str(known[same[one]]).lower()][:3]
    return [same[one] for one in near]


def meant(name: object, known: Iterable[object]) -> str:
    """A question to be put behind a sentence, after a space, or "" where nothing is near."""
    near = near_to(name, [one for one in known if isinstance(one, str)]) if isinstance(name, str) else []
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def nearest(what: str, name: str, known: Iterable[str]) -> str:
    """That there is no such thing, and what may have been meant, or else all that there is."""
    said = f"There is no {what} {name!r}."
    if near := near_to(name, known):
        return f"{said} Did you mean {' or '.join(map(repr, near))}?"
    return f"{said} There are {', '.join(sorted(known, key=str.lower))}."
