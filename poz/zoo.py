"""All objectives by name."""

from __future__ import annotations

import copyreg
import functools
import importlib
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from poz import objectives
from poz._given import given
from poz._nearest import Unknown, near_to, nearest
from poz.objective import Objective
from poz.purposes import PURPOSES, other_policies

if TYPE_CHECKING:
    from poz.objectives import _Zoo

# What people migrate with and that has meant several objectives: the caller says which.
AMBIGUOUS = {
    "aot_pair": "`aot_unpaired`, which TRL 0.9.6 to 0.27 trained under this name, or `aot`, the loss of paired data",
    "rdpo": "`r_dpo`, as SimPO's models are called (it pays for length), `gr_dpo`, as its authors' configuration is "
    "(robust to groups), or `robust_dpo` (robust to flipped labels)",
}


class Zoo(Mapping[str, Objective]):
    """A read-only mapping from names, and aliases, to objectives; iterates over names in order of publication."""

    def __init__(self) -> None:
        known = [o for o in vars(objectives).values() if isinstance(o, Objective)]
        self._named = {o.name: o for o in sorted(known, key=lambda o: o.paper)}  # arXiv:YYMM.number
        self._aliases = {alias: o for o in self._named.values() for alias in o.aliases}

    def __getitem__(self, name: str) -> Objective:
        found = self._named.get(name) or self._aliases.get(name)
        if found is None:
            raise UnknownObjective(f"There is no objective {name!r}. {self.hint(name)}")
        return found

    def has(self, objective: Objective) -> bool:
        """Whether it is one of these, however it is bound, and not another of that name."""
        return objective.name in self._named and self._named[objective.name].function is objective.function

    @given
    def find(
        self,
        *,
        answers: str | Iterable[str] = (),
        family: str | type[Any] | None = None,
        reads: str | Iterable[str] = (),
        reference_free: bool | None = None,
    ) -> list[Objective]:
        """Objectives for what is at hand, in order of publication.

        Args:
            answers: Purposes that each of them serves, of `poz.purposes.PURPOSES`.
            family: On this one, by name or class.
            reads: Fields that each of them reads with its defaults, or uses where they are given.
            reference_free: Whether no policy but the one that learns is needed, neither a reference nor that of the last
                iteration; either where it is None.

        Raises:
            TypeError: Something else than names.
            ValueError: There is no such purpose or family, or none of its fields has that name; the message has the nearest.
        """
        purposes = {answers} if isinstance(answers, str) else {*answers}
        for purpose in sorted(purposes - {*PURPOSES}):
            raise ValueError(nearest("purpose", purpose, PURPOSES))
        families = {o.family.__name__: o.family for o in self.values()}
        name = family if isinstance(family, str) else getattr(family, "__name__", None)
        if name is not None and name not in families:
            raise ValueError(nearest("family", name, [*families]))
        fields = {field for one in families.values() if name in (None, one.__name__) for field in one._fields}
        wanted = {reads} if isinstance(reads, str) else {*reads}
        for field in sorted(wanted - fields):
            raise ValueError(nearest("field" + f" of {name}" * bool(name), field, fields))
        return [
            o
            for o in self.values()
            if purposes <= {one.to for one in o.answers}
            and name in (None, o.family.__name__)
            and wanted <= o.reads | o.optional
            and reference_free in (None, not other_policies(o.reads))
        ]

    def hint(self, name: object) -> str:
        """What a name that is none may have meant, in a sentence."""
        said = str(name).lower()
        if meant := AMBIGUOUS.get(said.replace("-", "_")):
            return f"That name has meant {meant}: say which."
        near = near_to(said, [*self._named, *self._aliases], cutoff=0.4)
        return f"Did you mean {' or '.join(map(repr, near))}?" if near else "`poz list` shows all."

    def __contains__(self, name: object) -> bool:
        return name in self._named or name in self._aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


class UnknownObjective(Unknown):
    """No objective of that name; says which names are near."""


zoo = cast("_Zoo", Zoo())  # of which checkers know each name's signature


def _reduced(this: Objective) -> tuple[Callable[..., Objective], tuple[Any, ...]]:
    """How an objective is pickled: by its name here, or by where it is defined."""
    if zoo.has(this):
        return _of_zoo, (this.name, dict(this.values))
    module, name = this.function.__module__, this.function.__qualname__
    try:
        found: Any = _defined(module, name)
    except (KeyError, AttributeError):
        found = None
    if not isinstance(found, Objective) or found.function is not this.function:
        raise pickle.PicklingError(
            f"`{this.name}` is not to be found as {module}.{name}. Define it at the top of a module, under its own name."
        )
    return _of_module, (module, name, dict(this.values))


def _defined(module: str, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), sys.modules[module])


def _of_zoo(name: str, values: Mapping[str, Any]) -> Objective:
    return zoo[name].bind(**values)


def _of_module(module: str, name: str, values: Mapping[str, Any]) -> Objective:
    importlib.import_module(module)
    found: Objective = _defined(module, name)
    return found.bind(**values)


copyreg.pickle(Objective, _reduced)
