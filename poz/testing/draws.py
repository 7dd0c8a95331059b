"""Inputs and hyper-parameters drawn from what an objective declares, in NumPy."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from poz.domains import Choice, Domain, Real, Weights
from poz.families import Pairs, named
from poz.objective import Base, Objective
from poz.testing.drawn import drawing
from poz.testing.drawn._numbers import ANNOTATORS, with_zeros

WIDEST = 1e4  # nats: the largest margin that every objective must survive
PATIENCE = 50  # draws from a deck before chance takes over: some options do not go together
Option = TypeVar("Option", bound=Hashable)


class Case(NamedTuple):
    """An objective with bound hyper-parameters, and a batch for it."""

    objective: Objective
    batch: Any


class Deck:
    """Draws options so that each comes as often as the others over many cases: one of those that came least often."""

    def __init__(self) -> None:
        self._came: Counter[tuple[str, Hashable]] = Counter()
        self._drawn: list[tuple[str, Hashable]] = []

    def draw(self, name: str, options: Sequence[Option], rng: np.random.Generator) -> Option:
        """One of the options of what is called `name`."""
        least = min(self._came[name, option] for option in options)
        rare = [option for option in options if self._came[name, option] == least]
        pick = rare[rng.integers(len(rare))]
        self._drawn.append((name, pick))
        return pick

    def mark(self) -> int:
        """Where the draws stand, for `put_back`."""
        return len(self._drawn)

    def put_back(self, mark: int = 0) -> None:
        """What was drawn since the mark was refused, and has not come."""
        del self._drawn[mark:]

    def count(self) -> None:
        """All that was drawn and not put back has come."""
        self._came.update(self._drawn)
        self._drawn.clear()


def draw_case(
    objective: Objective,
    rng: np.random.Generator,
    size: int = 8,
    widest: float = WIDEST,
    deck: Deck | None = None,
    held: Collection[str] = (),
) -> Case:
    """Draws hyper-parameters over their whole domain, but for those held, then a batch of `size` examples that suits them."""
    for _ in range(100):
        bound = objective.bind(**draw_values(objective, rng, deck, held))
        try:
            return Case(bound, draw_batch(bound, rng, size, widest, deck))
        except ValueError as error:  # hyper-parameters that no batch suits
            refused = error
    raise refused


def draw_values(
    objective: Objective, rng: np.random.Generator, deck: Deck | None = None, held: Collection[str] = ()
) -> dict[str, Any]:
    """Hyper-parameters that satisfy the objective's constraint; those held are not drawn."""
    for attempt in range(1000):
        this = Deck() if deck is None or attempt >= PATIENCE else deck
        this.put_back()
        drawn = {name: param.domain for name, param in objective.params.items() if name not in held}
        values = {**objective.values, **{name: _draw(name, domain, rng, this) for name, domain in drawn.items()}}
        if objective.constraint(values) is None:
            return values
    raise ValueError(f"No hyper-parameters of `{objective.name}` satisfied its constraint in 1000 draws.")


def _draw(name: str, domain: Domain, rng: np.random.Generator, deck: Deck) -> Any:
    if isinstance(domain, Real):
        if domain.optional and deck.draw(name, ("none", "a number"), rng) == "none":
            return None
        if domain.per and rng.random() < 0.5:
            return rng.uniform(*domain.usual, size=ANNOTATORS)
        if domain.whole:
            return float(rng.integers(int(domain.usual[0]), int(domain.usual[1]) + 1))
        ends = [end for end in (domain.low, domain.high) if domain.problem(end) is None]
        return float(rng.choice(ends)) if ends and rng.random() < 0.15 else float(rng.uniform(*domain.usual))
    if isinstance(domain, Choice):
        return deck.draw(name, domain.options, rng)
    if isinstance(domain, Weights):
        count = deck.draw(name, (None, 1, 2, 3), rng)
        return None if count is None else tuple(map(float, with_zeros(rng.uniform(0, 1, count))))
    if isinstance(domain, Base):
        from poz.zoo import zoo

        bases = [o for o in zoo.values() if o.family is Pairs and {"chosen", "rejected"} <= o.reads and not o.coupled]
        bases = [o for o in bases if not o.reads & {"calibration", "opponents_chosen", "annotator"}]
        bases = [o for o in bases if not any(isinstance(p.domain, Base) for p in o.params.values())]
        salt = int(rng.integers(2**32))  # with it names are put in order, so that a new one changes no draw but its own
        base = min(bases, key=lambda o: hashlib.sha256(f"{salt} {o.name}".encode()).digest())
        made = base.bind(**draw_values(base, rng))
        while made.coupled:  # by one of its hyper-parameters
            made = base.bind(**draw_values(base, rng))
        return made
    raise TypeError(f"Nothing is known about drawing from {type(domain).__name__}.")


def draw_batch(
    objective: Objective, rng: np.random.Generator, size: int = 8, widest: float = WIDEST, deck: Deck | None = None
) -> Any:
    """A batch that the objective, as it is bound, accepts; each optional field is there half of the time."""
    mark = 0 if deck is None else deck.mark()
    for attempt in range(100):
        this = Deck() if deck is None or attempt >= PATIENCE else deck
        if deck is not None:
            deck.put_back(mark)
        batch = _draw_batch(objective, rng, size, widest, this)
        try:
            with np.errstate(all="ignore"):
                objective(batch)
        except ValueError as error:  # numbers of opponents, say, that the objective refuses
            refused = error
            continue
        return batch
    raise refused


def _draw_batch(objective: Objective, rng: np.random.Generator, size: int, widest: float, deck: Deck) -> Any:
    batch = drawing(objective.family)(objective, rng, size, widest)
    if type(batch) is not objective.family:
        raise TypeError(f"What draws {named(objective.family)} gave {type(batch).__name__}; return the family itself.")
    dropped = [name for name in batch._fields if name not in objective.reads | objective.optional]
    arrays = any(getattr(value, "ndim", 0) for value in objective.values.values())
    if not arrays:
        dropped += [name for name in sorted(objective.optional) if deck.draw(f"field {name}", (True, False), rng)]
    return batch._replace(**dict.fromkeys(dropped))
