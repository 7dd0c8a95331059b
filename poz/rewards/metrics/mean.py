"""A mean that adds up: a sum and how many it is of."""

from __future__ import annotations

import math
from typing import NamedTuple

from poz._given import given
from poz.backends import Array, namespace
from poz.rewards._arrays import scores
from poz.rewards.metrics._arrays import masked


class Mean(NamedTuple):
    """A sum with its count, so that shares of a batch, unequal or empty, add up to the mean over all.

    `a + b` and `sum(...)` add; over ranks, `jax.lax.psum(mean, axis)` in JAX, and in torch

        both = torch.stack(list(mean)); torch.distributed.all_reduce(both); mean = Mean(*both)

    Sums are in the numbers that came in, 16-bit ones in float32, which counts exactly to 2^24: beyond, add
    `Mean(*map(float, mean))`, which is float64.

    Attributes:
        total: () sum over what was counted.
        count: () how many that is, a number of the same kind as the sum.
    """

    total: Array
    count: Array

    @classmethod
    @given
    def of(cls, values: Array, mask: Array = None) -> Mean:
        """Sum and count of numbers of any shape, as data: no gradient flows, and no graph is kept.

        Args:
            values: Floating-point numbers; a NaN that is counted makes the sum NaN.
            mask: Booleans of the same shape, true where a value counts; whatever stands elsewhere is left out.

        Raises:
            TypeError: Values that are no floating-point array, a mask that is none of booleans, or two libraries.
            ValueError: A mask of another shape.
        """
        xp, values = scores("Mean.of", values=values)
        values = xp.stop_gradient(values)
        ones = xp.ones_like(values)
        if mask is not None:
            mask = masked(values, mask)
            zero = xp.constant(0.0, values)
            values, ones = xp.where(mask, values, zero), xp.where(mask, ones, zero)
        return cls(xp.sum(values), xp.sum(ones))

    @property
    def value(self) -> Array:
        """The mean; NaN of nothing."""
        if isinstance(self.count, int | float):
            return self.total / self.count if self.count else math.nan
        xp = namespace(self.count)
        return self.total / xp.where(self.count > 0, self.count, xp.constant(math.nan, self.total))

    def __add__(self, other: Mean) -> Mean:  # type: ignore[override]
        if not isinstance(other, Mean):
            raise TypeError(f"A Mean adds to another Mean; got {type(other).__name__}. Mean.of(...) makes one.")
        return Mean(self.total + other.total, self.count + other.count)

    def __radd__(self, other: int) -> Mean:
        return self if isinstance(other, int) and other == 0 else self + other  # type: ignore[operator]
