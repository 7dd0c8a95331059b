"""What `conform` found, and how it says so."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poz.families import named
from poz.testing.draws import Case
from poz.testing.edges import CONVENTIONS, conventions, one_alone
from poz.testing.tolerances import RTOL


class Result(NamedTuple):
    """How an implementation did; true where it passed, and prints as a verdict.

    Attributes:
        objective: Name.
        backend: Where it ran.
        dtype: What it was given.
        cases: How many draws there were.
        loss_error: Worst error, as a multiple of the scale in `poz.testing.tolerances`; None where every case raised.
        gradient_error: The same of gradients; None where the backend has none.
        problem: The first thing that was wrong, and what all that is wrong has in common; "" where nothing is.
        held: Hyper-parameters that were not drawn, since the implementation does not take them.
        inputs: Of the first example that is wrong, as code; of the whole batch where its examples are tied together.
        again: The call that ends with the case that is wrong.
        case: That case: the objective as it was bound, and the batch in NumPy.
    """

    objective: str
    backend: str
    dtype: str
    cases: int
    loss_error: float | None
    gradient_error: float | None
    problem: str = ""
    held: str = ""
    inputs: str = ""
    again: str = ""
    case: Case | None = None

    @property
    def passed(self) -> bool:
        """Whether both errors are within tolerance and nothing was raised."""
        if self.problem or self.loss_error is None:
            return False
        return (
            self.loss_error <= RTOL[self.dtype, "loss"] and (self.gradient_error or 0) <= RTOL[self.dtype, "gradient"]
        )

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        verdict = "passed" if self.passed else f"FAILED ({self.problem or 'an error beyond its tolerance'})"
        gradient = "" if self.gradient_error is None else f", of gradients {self.gradient_error:.1e}"
        worst = "" if self.loss_error is None else f", worst error of losses {self.loss_error:.1e}{gradient}"
        held = f", with {self.held} throughout" if self.held else ""
        text = f"{self.objective} on {self.backend} in {self.dtype}: {verdict}, {self.cases} cases{held}{worst}"
        return "\n".join([text, *self.example()])

    def example(self) -> list[str]:
        """Lines with the inputs that are wrong and the call that makes them again; none where nothing is."""
        return [f"  {name}: {text}" for name, text in (("inputs", self.inputs), ("again", self.again)) if text]


class Tally:
    """Which examples were wrong, and what they have in common that the others have not."""

    def __init__(self) -> None:
        self._wrong = 0
        self._wrong_with: dict[str, int] = {}
        self._right_without: set[str] = set()

    def add(self, case: Case, wrong: npt.NDArray[np.bool_] | None) -> None:
        """A case with its wrong examples, (batch,); None where it raised, which is for the whole batch to say."""
        kinds = conventions(case.objective, case.batch)
        if wrong is None:
            wrong, kinds = np.array([True]), {kind: np.array([rows.any()]) for kind, rows in kinds.items()}
        self._wrong += int(wrong.sum())
        for kind, rows in kinds.items():
            self._wrong_with[kind] = self._wrong_with.get(kind, 0) + int((wrong & rows).sum())
            if (~wrong & ~rows).any():
                self._right_without.add(kind)

    def common(self) -> str:
        """As a sentence to put behind the others; "" where there is nothing."""
        for kind, wrong in self._wrong_with.items():
            if 0 < wrong == self._wrong and kind in self._right_without:
                what = CONVENTIONS.get(kind, f"examples whose `{kind}` is given")
                return f". Only {what}, fail; where yours differs on purpose, say conform(..., without=[{kind!r}])"
        return ""


def where(field: str, actual: npt.NDArray[Any], wanted: npt.NDArray[Any], error: npt.NDArray[Any]) -> str:
    """The entry that is furthest off, and what may explain it."""
    at = np.unravel_index(int(error.argmax()), error.shape)
    index = "[" + ", ".join(str(int(i)) for i in at) + "]" if at else ""
    text = "loss" if field == "loss" else f"gradient of {field}"
    hint = ""
    if field.startswith(("ref_", "opponents_")) and not np.any(actual):
        hint = f". Held constant? Then say so: conform(..., constant=({field!r}, ...))"
    found, right = apart(float(actual[at]), float(wanted[at]))
    return f"{text}{index} is {found}, expected {right}, an error of {error[at]:.1e}{hint}"


def apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers with as many digits, from six, as it takes to tell them apart."""
    pairs = ((f"{a:.{digits}g}", f"{b:.{digits}g}") for digits in range(6, 18))
    return next((pair for pair in pairs if pair[0] != pair[1]), (repr(a), repr(b)))


def as_code(case: Case, example: int | None, backend: str, dtype: str) -> str:
    """The batch, or one example of it, as it is written in the arrays of the backend."""
    batch = case.batch if example is None else one_alone(case.batch, example)
    fields = [f"{name}={_array(x, backend, dtype)}" for name, x in batch._asdict().items() if x is not None]
    return f"{named(case.objective.family)}({', '.join(fields)})"


def _array(x: npt.NDArray[Any], backend: str, dtype: str) -> str:
    numbers = str(x.tolist()).replace("inf", "np.inf").replace("nan", "np.nan")
    library, make = {"numpy": ("np", "array"), "jax": ("jnp", "array")}.get(backend, ("torch", "tensor"))
    kind = f", dtype={library}.{dtype}" if x.dtype.kind == "f" else ""
    return f"{library}.{make}({numbers}{kind})"
