"""Who belongs together: sums over groups, of which neither the number nor the sizes need be known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from poz.backends import Array, Namespace
from poz.rewards._arrays import root, scores


@dataclass(frozen=True)
class Members:
    """A batch by groups.

    Attributes:
        xp: The backend.
        order: (batch,) places, sorted by group; members in the order of the batch.
        index: (batch,) the number of the group of each, from 0.
        start: (batch,) where the group of each begins in `order`.
        size: (batch,) how many members the group of each has.
    """

    xp: Namespace
    order: Array
    index: Array
    start: Array
    size: Array

    def sum(self, x: Array) -> Array:
        """Of each completion the sum over its group; x is (batch, ...)."""
        return self.xp.gather(self.xp.segment_sum(x, self.index, x.shape[0]), self.index)

    def count(self, x: Array) -> Array:
        """The sizes in the dtype of x."""
        return self.xp.astype(self.size, x)

    def first(self, x: Array) -> Array:
        """Of each completion the number of its group's first member."""
        return self.xp.gather(x, self.xp.gather(self.order, self.start))

    def centred(self, x: Array) -> Array:
        """x minus its mean over the group, exactly 0 where all are equal: they are first compared with one of them."""
        apart = x - self.first(x)
        return apart - self.sum(apart) / self.count(x)

    def ascending(self, x: Array) -> Array:
        """(batch,) places, sorted by group and then by x."""
        order = self.xp.argsort(x)
        return self.xp.gather(order, self.xp.argsort(self.xp.gather(self.index, order)))

    def std(self, x: Array, ddof: int) -> Array:
        """Deviation of x in the group, 0 where that has no more than `ddof` members."""
        apart = self.centred(x)
        last = self.xp.gather(self.ascending(abs(apart)), self.start + self.size - 1)
        return deviation(self.xp, apart, self.xp.gather(abs(apart), last), self.sum, self.count(x), ddof)


def members(xp: Namespace, groups: Array) -> Members:
    """The groups of a batch, from their ids."""
    order = xp.argsort(groups)
    ids = xp.gather(groups, order)
    new = xp.concatenate([ids[:1] != ids[:1], ids[1:] != ids[:-1]], 0)
    index = xp.gather(xp.cumsum(new, 0), xp.argsort(order))
    sizes = xp.segment_sum(index * 0 + 1, index, index.shape[0])
    starts = xp.cumsum(sizes, 0) - sizes
    return Members(xp, order, index, xp.gather(starts, index), xp.gather(sizes, index))


def deviation(
    xp: Namespace, apart: Array, most: Array, total: Callable[[Array], Array], count: Array, ddof: int
) -> Array:
    """√(Σ apart² / (count - ddof)), 0 of no more than `ddof` numbers; in units of the largest, whose square may overflow."""
    unit = xp.where(most > 0, most, xp.ones_like(most))
    enough = count > ddof
    squares = total((apart / unit) ** 2)
    mean = xp.where(enough, squares, 0 * squares) / xp.where(enough, count - ddof, xp.ones_like(count))
    return unit * root(xp, mean)


def divided(xp: Namespace, x: Array, std: Array, epsilon: float) -> Array:
    """x / (std + ε), or x where there is no deviation."""
    return x / xp.where(std == 0, xp.ones_like(std), std + epsilon)


def rewarded(function: str, rewards: Array, dims: int = 1) -> tuple[Namespace, Array]:
    """The backend and the rewards as data.

    Raises:
        TypeError: No floating-point array.
        ValueError: Other dimensions, or a number that is not finite.
    """
    xp, rewards = scores(function, rewards=rewards)
    if rewards.ndim != dims:
        wanted = ("", "(batch,)", "(batch, tokens)")[dims] if function != "gdpo" else "(batch, rewards)"
        raise ValueError(f"{function} needs rewards of shape {wanted}; got {tuple(rewards.shape)}.")
    finite(function, xp, rewards=rewards)
    return xp, xp.stop_gradient(rewards)


def finite(function: str, xp: Namespace, **named: Array) -> None:
    """Raises a ValueError for a number that is not finite, where it can be read."""
    for name, x in named.items():
        known = xp.values(x)
        if known is not None and not (abs(known) < float("inf")).all():
            raise ValueError(
                f"{function} needs finite {name}: a NaN or an infinity would spread over all that is compared with it. "
                "Leave such completions out."
            )


def ids(function: str, xp: Namespace, rewards: Array, groups: Array) -> Array:
    """The ids of groups, checked.

    Raises:
        TypeError: No integers, or of another library.
        ValueError: Not one for each completion.
    """
    if not xp.is_array(groups):
        raise TypeError(f"{function} needs group ids of {xp.name}, as the rewards; got {type(groups).__name__}.")
    if xp.kind(groups) != "integer":
        raise TypeError(
            f"{function} needs integers for groups, an id of its prompt for each completion; got {groups.dtype}."
        )
    if tuple(groups.shape) != tuple(rewards.shape[:1]):
        raise ValueError(
            f"{function} needs one group id for each completion, shape {tuple(rewards.shape[:1])}; got "
            f"{tuple(groups.shape)}."
        )
    return groups


def number(function: str, name: str, value: float, low: float = 0.0) -> float:
    """A hyper-parameter of at least `low`, or a ValueError."""
    if not low <= value < float("inf"):
        raise ValueError(f"{function} needs {name} of {low:g} or more; got {value!r}.")
    return value


def delta_degrees(function: str, ddof: int) -> int:
    """0 or 1, or a ValueError."""
    if ddof not in (0, 1):
        raise ValueError(f"{function} needs ddof 0 (of the population) or 1 (of a sample); got {ddof!r}.")
    return int(ddof)
