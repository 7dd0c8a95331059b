"""Names that are none: what may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class Unknown(KeyError):
    """A name that a mapping has not, in a sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


def near_to(name: str, known: Iterable[str], cutoff: float = 0.5) -> list[str]:
    """At most three known names that begin so, have two letters the other way round, or are near.

    Where none is, of a mapping those whose text has the word.
    """
    said, same = name.lower(), {one.lower(): one for one in known}
    begun = [one for one in same if len(said) > 3 and one.startswith(said)]
    turned = [
        one for at in range(1, len(said)) if (one := said[: at - 1] + said[at] + said[at - 1] + said[at + 1 :]) in same
    ]
    near = list(dict.fromkeys([*begun, *turned, *difflib.get_close_matches(said, same, n=3, cutoff=cutoff)]))[:3]
    if not near and isinstance(known, Mapping) and len(name) > 3:
        near = [one for one in same if said in str(known[same[one]]).lower()][:3]
    return [same[one] for one in near]


def meant(name: object, known: Iterable[object]) -> str:
    """A question to be put behind a sentence, after a space, or "" where nothing is near."""
    near = near_to(name, [one for one in known if isinstance(one, str)]) if isinstance(name, str) else []
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def misspelt(wanted: str, given: Iterable[object]) -> str:
    """The same of what is missing: which of those given it may be under."""
    return meant(wanted, given).replace("?", " by it?")


def nearest(what: str, name: str, known: Iterable[str]) -> str:
    """That there is no such thing, and what may have been meant, or else all that there is."""
    said = f"There is no {what} {name!r}."
    if near := near_to(name, known):
        return f"{said} Did you mean {' or '.join(map(repr, near))}?"
    return f"{said} There are {', '.join(sorted(known, key=str.lower))}."
