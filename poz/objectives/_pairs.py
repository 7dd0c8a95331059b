"""What the pair objectives share in their specs."""

from poz.families import Pairs


def one(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """The first pair alone, for a `Limit` of an objective that ties a batch together and for the other one."""
    first = Pairs(**{name: x[:1] for name, x in pairs._asdict().items() if x is not None})
    return first, first
