"""All objectives by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from poz import objectives
from poz.objective import Objective


class Zoo(Mapping[str, Objective]):
    """A read-only mapping from names, and aliases, to objectives; iterates over names in order of publication."""

    def __init__(self) -> None:
        known = [o for o in vars(objectives).values() if isinstance(o, Objective)]
        self._named = {o.name: o for o in sorted(known, key=lambda o: o.paper)}  # arXiv:YYMM.number
        self._aliases = {alias: o for o in self._named.values() for alias in o.aliases}

    def __getitem__(self, name: str) -> Objective:
        found = self._named.get(name) or self._aliases.get(name)
        if found is None:
            near = difflib.get_close_matches(str(name).lower(), [*self._named, *self._aliases], n=3, cutoff=0.4)
            hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "`poz list` shows all."
            raise UnknownObjective(f"There is no objective {name!r}. {hint}")
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._named or name in self._aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


class UnknownObjective(KeyError):
    """No objective of that name; says which names are near."""

    def __str__(self) -> str:
        return str(self.args[0])


zoo = Zoo()
