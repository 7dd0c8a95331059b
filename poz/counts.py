"""What the completions of a whole batch count, over all of its parts: enough for a mean over its tokens."""

from __future__ import annotations

from typing import Any, NamedTuple

from poz.backends import Array, namespace
from poz.families._tokens import fitting


class Counts(NamedTuple):
    """What a batch counts that is computed in parts, on several processes or in micro-batches; numbers, or arrays of one.

    Those of parts add up, `one + other` and `sum(parts, poz.Counts(0, 0, 0))`, and so do their fields over processes:
    `torch.distributed.all_reduce(total := torch.tensor(counts))`, then `poz.Counts(*total.tolist())`.

    Attributes:
        completions: How many there are.
        tokens: How many tokens all of them have.
        empty: How many completions have none.
    """

    completions: Any
    tokens: Any
    empty: Any

    def __add__(self, other: Any) -> Counts:
        """Those of two parts together; a tuple would be longer."""
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(*(one + more for one, more in zip(self, other, strict=True)))

    @classmethod
    def of(cls, mask: Array) -> Counts:
        """Those of a mask (batch, tokens) that is true, or 1, at the tokens of completions.

        Raises:
            TypeError: The mask holds something else than booleans or integers.
            ValueError: It has other dimensions, or holds other integers than 0 and 1.
        """
        xp = namespace(mask)
        if xp.kind(mask) not in ("bool", "integer"):
            raise TypeError(f"A mask must be boolean, or integers, 0 and 1; got {mask.dtype}.")
        if mask.ndim != 2:
            raise ValueError(f"A mask must be (batch, tokens), a row for each completion; got {tuple(mask.shape)}.")
        lengths = fitting("mask", mask, "mask", mask).sum(-1)
        return cls(mask.shape[0], lengths.sum(), (lengths == 0).sum()).read()

    def read(self) -> Counts:
        """As plain numbers, where they can be read without waiting.

        Raises:
            TypeError: Something else than numbers.
            ValueError: No batch counts so much.
        """
        read = Counts(*map(_read, self))
        if any(isinstance(number, str) or number is None for number in read):
            raise TypeError(f"Counts must be numbers, or arrays of one; got {read}.")
        if not all(isinstance(number, int | float) for number in read):
            return read
        if not (0 <= read.empty <= read.completions and read.tokens >= read.completions - read.empty):
            raise ValueError(
                f"Counts must be of 0 completions or more, of which at most all are empty and each other has a token; got "
                f"{read}. poz.Counts.of(mask) makes them, and + adds up those of parts."
            )
        return read


def _read(number: Any) -> Any:
    if not hasattr(number, "dtype"):
        return number
    xp = namespace(number)
    values = xp.values(number)
    if values is not None:
        return values.item()
    return number.double() if xp.name == "torch" else number  # torch divides integers in float32
