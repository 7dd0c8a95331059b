"""Any implementation of an objective against its float64 reference, on drawn inputs and hyper-parameters."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poz.domains import Base, Real
from poz.objective import Objective
from poz.testing.draws import WIDEST, Case, Deck, draw_batch, draw_case
from poz.testing.runners import BACKENDS, Arrays, Candidate, missing, runs
from poz.testing.tolerances import FLOOR, RTOL, UNIT, relative_error
from poz.zoo import zoo


class Expected(NamedTuple):
    """What the reference says about a case, and the scale that errors are measured against."""

    losses: npt.NDArray[np.float64]
    gradients: Arrays
    loss_scale: npt.NDArray[np.float64]
    gradient_scale: Arrays


class Result(NamedTuple):
    """How an implementation did: worst errors, as multiples of the scale in `poz.testing.tolerances`; prints as a verdict.

    `loss_error` is None where every case raised, `gradient_error` where the backend has no gradients.
    """

    objective: str
    backend: str
    dtype: str
    cases: int
    loss_error: float | None
    gradient_error: float | None
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether both errors are within tolerance and nothing was raised."""
        if self.problem or self.loss_error is None:
            return False
        return (
            self.loss_error <= RTOL[self.dtype, "loss"] and (self.gradient_error or 0) <= RTOL[self.dtype, "gradient"]
        )

    def __str__(self) -> str:
        verdict = "passed" if self.passed else f"FAILED ({self.problem or 'an error beyond its tolerance'})"
        gradient = "" if self.gradient_error is None else f", of gradients {self.gradient_error:.1e}"
        worst = "" if self.loss_error is None else f", worst error of losses {self.loss_error:.1e}{gradient}"
        return f"{self.objective} on {self.backend} in {self.dtype}: {verdict}, {self.cases} cases{worst}"


def reference(objective: Objective, batch: Any) -> tuple[npt.NDArray[np.float64], Arrays]:
    """Losses and gradients of the float64 reference, which shares no code with the objective."""
    function = getattr(importlib.import_module("poz.reference"), objective.name)
    values = dict(objective.values)
    for name, param in objective.params.items():
        if isinstance(param.domain, Base):
            base = values[name]
            values |= {name: base.name, f"{name}_params": dict(base.values)}
    read = objective.reads | objective.optional
    fields = {name: x for name, x in zip(batch._fields, batch, strict=True) if x is not None and name in read}
    with np.errstate(all="ignore"):
        losses, gradients = function(**fields, **values)
    return losses, gradients


def expected(objective: Objective, batch: Any, dtype: str = "float64") -> Expected:
    """The reference's answer, and the scale of `poz.testing.tolerances` to measure errors against."""
    losses, gradients = reference(objective, batch)
    rng, step = np.random.default_rng(0), 1e-6
    loss_scale, gradient_scale = np.abs(losses), {name: np.abs(g) for name, g in gradients.items()}
    for name in [*gradients] * 2:  # one field at a time, so that moves do not cancel
        field = getattr(batch, name)
        moved = {name: field * (1 + step * rng.choice([-1, 1], np.shape(field)))}
        there, slopes = reference(objective, batch._replace(**moved))
        with np.errstate(all="ignore"):
            loss_scale = loss_scale + np.abs(there - losses) / step
            gradient_scale = {n: gradient_scale[n] + np.abs(slopes[n] - gradients[n]) / step for n in gradients}
    for moved_objective in _moved(objective, step):  # hyper-parameters are rounded as well
        there, slopes = reference(moved_objective, batch)
        with np.errstate(all="ignore"):
            loss_scale = loss_scale + np.abs(there - losses) / step
            gradient_scale = {n: gradient_scale[n] + np.abs(slopes[n] - gradients[n]) / step for n in gradients}
    for name, param in objective.params.items():
        if isinstance(param.domain, Base):  # differences of the base's losses carry the rounding of those losses
            base = objective.values[name]
            loss_scale = loss_scale + sum(np.abs(reference(base, order)[0]) for order in (batch, batch.swap()))
    gradient_scale = {n: gradient_scale[n] + np.abs(g).max(initial=UNIT[dtype]) for n, g in gradients.items()}
    return Expected(losses, gradients, loss_scale + 1, gradient_scale)


def _moved(objective: Objective, step: float) -> Iterator[Objective]:
    """The objective with one of its real hyper-parameters off by a share of itself, each in turn; downwards at an upper end."""
    for name, param in objective.params.items():
        value = objective.values[name]
        if not isinstance(param.domain, Real) or param.domain.whole or not isinstance(value, float) or value == 0:
            continue
        share = param.domain.low >= 0 and param.domain.high <= 1
        size = max(value, 1 - value) if share else value  # of a share, what is left of 1 is rounded too
        for direction in (step, -step):
            try:
                yield objective.bind(**{name: value + direction * size})
                break
            except ValueError:
                continue


def conform(
    name: str | Objective,
    candidate: Candidate | None = None,
    *,
    backend: str = "torch",
    dtype: str = "float64",
    cases: int = 20,
    size: int = 8,
    seed: int = 0,
    constant: Collection[str] = (),
) -> Result:
    """Runs `candidate(batch, **hyper_parameters) -> (batch,) losses` against the reference of an objective.

    Each option of a hyper-parameter, None among them, and each optional field given or not, comes as often as the others, so
    that all of them come where there are as many cases. Padding is finite: how NaN there is treated is not seen.

    Args:
        name: The objective, by name; or one whose hyper-parameters stay as they are bound.
        candidate: Takes the family with arrays of the backend, and leaves them as they are; the objective itself where not given.
        backend: One of `BACKENDS`. Gradients are the backend's own, of all log-probs; NumPy has none.
        dtype: "float64" or "float32"; inputs are rounded to it before the reference sees them.
        cases: How many draws of inputs and hyper-parameters.
        size: Examples per batch.
        seed: Of the draws.
        constant: Log-probs that the candidate holds constant, such as ("ref_chosen", "ref_rejected"): no gradients are compared.

    Raises:
        ImportError: The backend's library is not installed.
        TypeError: `name` is no objective that has a reference.
        ValueError: There is no such backend, dtype or field, or nothing would be run.
    """
    this = _with_reference(name)
    if backend not in BACKENDS:
        raise ValueError(f"There is no backend {backend!r}; there are {', '.join(BACKENDS)}.")
    if dtype not in UNIT:
        raise ValueError(f"There is no dtype {dtype!r} to conform in; there are {', '.join(UNIT)}.")
    if cases < 1 or size < 1:
        raise ValueError(f"At least one case of one example has to be run; got cases={cases}, size={size}.")
    if unknown := set(constant) - set(this.family._fields):
        raise ValueError(f"poz.{this.family.__name__} has no {', '.join(sorted(unknown))} to hold constant.")
    if lacking := missing(backend):
        raise ImportError(lacking)
    rng, deck = np.random.default_rng([seed, zlib.crc32(this.name.encode())]), Deck()
    worst_loss: float | None = None
    worst_gradient, problem = (None if backend == "numpy" else 0.0), ""
    for index in range(cases):
        widest = WIDEST if index % 2 else 30.0
        case = (
            draw_case(this, rng, size, widest, deck)
            if isinstance(name, str)
            else Case(this, draw_batch(this, rng, size, widest, deck))
        )
        deck.count()
        batch = _rounded(case.batch, dtype)
        wanted = expected(case.objective, batch, dtype)
        try:
            losses, gradients = BACKENDS[backend](candidate, case.objective, batch, dtype)
            losses = _checked(losses, wanted.losses.shape)
        except Exception as error:  # a peer's bug is a result to report, not a reason to stop
            said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            problem = problem or f"case {index}, {case.objective!r}: {said}"
            continue
        found = {"loss": losses} | {field: g for field, g in gradients.items() if field not in constant}
        right = {"loss": wanted.losses, **wanted.gradients}
        scale = {"loss": wanted.loss_scale, **wanted.gradient_scale}
        errors = {field: relative_error(x, right[field], scale[field], FLOOR[dtype]) for field, x in found.items()}
        worst = {field: float(error.max(initial=0)) for field, error in errors.items()}
        worst_loss = max(worst_loss or 0.0, worst["loss"])
        if worst_gradient is not None:
            worst_gradient = max([worst_gradient, *(error for field, error in worst.items() if field != "loss")])
        beyond = [field for field in worst if worst[field] > RTOL[dtype, "loss" if field == "loss" else "gradient"]]
        if beyond and not problem:
            first = max(beyond, key=lambda field: (field == "loss", worst[field]))
            problem = f"case {index}, {case.objective!r}: {_where(first, found[first], right[first], errors[first])}"
    return Result(this.name, backend, dtype, cases, worst_loss, worst_gradient, problem)


def _with_reference(name: str | Objective) -> Objective:
    if isinstance(name, str):
        return zoo[name]
    if not isinstance(name, Objective) or name.name not in zoo:
        said = f"`{name.name}`" if isinstance(name, Objective) else f"{type(name).__name__}"
        raise TypeError(
            f"conform needs an objective that has a reference, or its name; got {said}. Give your own as candidate."
        )
    return name


def _checked(losses: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    if np.shape(losses) != shape:
        raise ValueError(
            f"one loss per example is required, shape {shape}; got shape {np.shape(losses)}. Leave the mean to the caller."
        )
    if np.iscomplexobj(losses):
        raise TypeError("real losses are required; got complex ones.")
    return np.asarray(losses, np.float64)


def _where(field: str, actual: npt.NDArray[Any], wanted: npt.NDArray[Any], error: npt.NDArray[Any]) -> str:
    """The entry that is furthest off, and what may explain it."""
    at = np.unravel_index(int(error.argmax()), error.shape)
    index = ", ".join(str(int(i)) for i in at)
    text = "loss" if field == "loss" else f"gradient of {field}"
    hint = ""
    if field.startswith(("ref_", "opponents_")) and not np.any(actual):
        hint = f". Held constant? Then say so: conform(..., constant=({field!r}, ...))"
    return f"{text}[{index}] is {actual[at]:.6g}, expected {wanted[at]:.6g}, an error of {error[at]:.1e}{hint}"


def verify(names: Iterable[str], backends: Iterable[str], cases: int = 20, seed: int = 0) -> Iterator[Result]:
    """Every named objective on every backend that can run it, one result at a time."""
    for name in names:
        for backend in backends:
            if not runs(name, backend):
                continue
            yield conform(
                name, backend=backend, dtype="float32" if backend == "triton" else "float64", cases=cases, seed=seed
            )


def _rounded(batch: Any, dtype: str) -> Any:
    """Log-probs and data that the dtype can hold, as float64 for the reference."""
    return type(batch)(
        *[x.astype(dtype).astype(np.float64) if x is not None and x.dtype.kind == "f" else x for x in batch]
    )
