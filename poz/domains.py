"""Domains of hyper-parameters: what may be given, what it means, and what tests and plots draw.

A domain stands in the signature of its objective, `beta: Annotated[float, Real("...", low=0, open="low")] = 0.1`,
so the signature is the single source for validation, documentation and drawing.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NUMBERS = (float, int)
FLAG = (False, True)


@dataclass(frozen=True)
class Domain:
    """What a hyper-parameter means; subclasses say what it may be."""

    meaning: str

    def describe(self) -> str:
        """The domain in a few characters, as in "(0, inf)"."""
        raise NotImplementedError

    def problem(self, value: Any) -> str | None:
        """Why `value` is outside, as the end of a sentence ("needs ..."), or None."""
        raise NotImplementedError

    def read(self, text: str) -> Any:
        """The value that a text stands for, as on a command line; the text itself, a problem, where it is none."""
        raise NotImplementedError


@dataclass(frozen=True)
class Real(Domain):
    """A real number from an interval. Arrays (also traced ones) pass: their values are the caller's business.

    Attributes:
        low: Lower end.
        high: Upper end.
        open: Which ends do not belong to the interval: "", "low", "high" or "both".
        unit: Unit of the number.
        usual: The range that tests and plots draw from.
        optional: Whether None is a value too.
        per: What the number may also be an array over, such as "annotator".
        whole: Whether it must be a whole number.
    """

    low: float = -math.inf
    high: float = math.inf
    open: str = ""
    unit: str = "1"
    usual: tuple[float, float] = (0.01, 2.0)
    optional: bool = False
    per: str = ""
    whole: bool = False

    def describe(self) -> str:
        """The interval."""
        left = "(" if self.open in ("low", "both") or math.isinf(self.low) else "["
        right = ")" if self.open in ("high", "both") or math.isinf(self.high) else "]"
        return (
            f"{left}{self.low:g}, {self.high:g}{right}"
            + (" or None" * self.optional)
            + f", or an array with one per {self.per}" * bool(self.per)
        )

    def problem(self, value: Any) -> str | None:
        """Outside the interval, not a number, or NaN."""
        if value is None:
            return None if self.optional else f"a number in {self.describe()}"
        if type(value) not in NUMBERS and type(value).__name__ != "SymFloat":  # torch.compile's number that changes
            inside = hasattr(value, "dtype") and not (isinstance(value, np.ndarray) and self._outside(value))
            return None if inside else f"a number in {self.describe()}"
        above = value > self.low if self.open in ("low", "both") else value >= self.low
        below = value < self.high if self.open in ("high", "both") else value <= self.high
        return None if above and below and -math.inf < value < math.inf else f"a number in {self.describe()}"

    def read(self, text: str) -> Any:
        """A number, or none."""
        if self.optional and text.lower() == "none":
            return None
        return _number(text)

    def _outside(self, values: npt.NDArray[Any]) -> bool:
        return any(self.problem(float(value)) is not None for value in values.flat)


@dataclass(frozen=True)
class Choice(Domain):
    """One of a few values."""

    options: tuple[Any, ...] = ()

    def describe(self) -> str:
        """The options."""
        return " | ".join(repr(option) for option in self.options)

    def problem(self, value: Any) -> str | None:
        """None of the options; `True` is not 1."""
        ok = any(type(value) is type(option) and value == option for option in self.options)
        return None if ok else f"one of {self.describe()}"

    def read(self, text: str) -> Any:
        """An option by its name; true and false too."""
        return next((option for option in self.options if str(option).lower() == text.lower()), text)


@dataclass(frozen=True)
class Weights(Domain):
    """A tuple of non-negative weights, or None for equal ones. Arrays (also traced ones) pass, as for `Real`.

    Attributes:
        per: What each of them belongs to.
        infinite: Whether inf is one too.
    """

    per: str = "opponent"
    infinite: bool = False

    def describe(self) -> str:
        """In words."""
        return f"a tuple of numbers >= 0{' (inf too)' * self.infinite}, or None"

    def problem(self, value: Any) -> str | None:
        """Negative, infinite where that is none, or no numbers."""
        if value is None or len(getattr(value, "shape", ())) == 1:
            return None
        given = isinstance(value, tuple | list) and len(value)
        return None if given and all(map(self._weight, value)) else self.describe()

    def read(self, text: str) -> Any:
        """Numbers with commas between them, or none."""
        return None if text.lower() == "none" else tuple(map(_number, text.split(",")))

    def _weight(self, w: Any) -> bool:
        if type(w) in NUMBERS:
            return bool(0 <= w < math.inf or (self.infinite and w == math.inf))
        return type(w).__name__ == "SymFloat" or getattr(w, "shape", None) == ()


def _number(text: str) -> Any:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
