"""Any implementation of an objective against its float64 reference, on drawn inputs and hyper-parameters."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from poz._given import given
from poz._nearest import meant
from poz.families import layout_of, named
from poz.objective import Base, Objective
from poz.testing.answers import Expected, expected
from poz.testing.draws import WIDEST, Case, Deck, draw_case
from poz.testing.edges import CONVENTIONS, conventions, one_alone, with_edges, without_empty
from poz.testing.runners import ALONE, BACKENDS, Backend, Candidate, fixed, missing, runs, taken
from poz.testing.tolerances import FLOOR, RTOL, UNIT, Mismatch, relative_error
from poz.testing.verdict import Result, Tally, as_code, where
from poz.zoo import zoo

Dtype = Literal["float64", "float32"]


@given
def conform(
    name: str | Objective,
    candidate: Candidate | None = None,
    *,
    backend: Backend = "torch",
    dtype: Dtype = "float64",
    cases: int = 20,
    size: int = 12,
    seed: int = 0,
    constant: Collection[str] = (),
    without: Collection[str] = (),
    reduction: Literal["none", "mean", "sum"] = "none",
    check: bool = False,
) -> Result:
    """Runs `candidate(batch, **hyper_parameters) -> (batch,) losses` against the reference of an objective.

    Each option of a hyper-parameter, None among them, and each optional field given or not, comes as often as the others, so
    that all of them come where there are as many cases. A third of each batch stands at an edge: log-ratios of 20, 88, 104
    and 709 nats over β and beyond, where floats end and libraries differ, and tiny ones; in every fourth case infinite ones,
    of which the losses are asked for, and where those are finite the gradients; nothing where infinities compete. Padding is
    finite: how NaN there is treated is not seen. Of the first case an example is run alone too.

    Args:
        name: The objective, by name; or one whose hyper-parameters stay as they are bound.
        candidate: Takes the family with arrays of the backend, and leaves them as they are; the objective itself where not
            given. Hyper-parameters that it does not take are held, at their defaults or as they are bound, so a function of
            the batch alone will do; what a partial or an objective has bound it keeps, and the objective of that name is
            bound alike. On JAX it is traced, and numbers with it unless it needs to know them.
        backend: One of `BACKENDS`. Gradients are the backend's own, of all log-probs; NumPy has none.
        dtype: "float64" or "float32"; inputs are rounded to it before the reference sees them.
        cases: How many draws of inputs and hyper-parameters.
        size: Examples per batch.
        seed: Of the draws.
        constant: Log-probs that the candidate holds constant, such as ("ref_chosen", "ref_rejected"): no gradients are compared.
        without: What is not drawn, since the candidate has another convention: "empty" completions, "infinite" log-probs,
            "extreme" ones, or an optional field by its name.
        reduction: What the candidate does with the losses of a batch, "none", "mean" or "sum": their mean or sum is compared
            with that of the reference, and its gradients.
        check: Whether to raise where it fails.

    Returns:
        The verdict, which is true where it passed; it prints, and has, the first example that is wrong.

    Raises:
        ImportError: The backend's library is not installed.
        Mismatch: It failed, and `check` is true.
        TypeError: `name` is no objective that has a reference.
        ValueError: There is no such backend, dtype, field or seed, or nothing would be run.
    """
    this = _with_reference(name, candidate)
    _check_arguments(this, backend, dtype, cases, size, seed, constant, without, reduction)
    known = frozenset(this.params) if candidate is None else taken(candidate, this.params)
    held = sorted(set(this.params) - known) if isinstance(name, str) else sorted(this.params)
    rng, deck, tally = np.random.default_rng([seed, zlib.crc32(this.name.encode())]), Deck(), Tally()
    worst_loss: float | None = None
    worst_gradient, problem = (None if backend == "numpy" else 0.0), ""
    shown: dict[str, Any] = {}
    drawn = (_draw(this, rng, size, index, deck, held, dtype, without) for index in range(cases))
    for index, which, case in _with_one_alone(drawn, size // 2):
        bound, batch = case
        each = expected(bound, batch, dtype)
        wanted = each.reduced(reduction)
        example = None
        try:
            losses, gradients = (ALONE if which else BACKENDS)[backend](candidate, bound, batch, dtype)
            losses = _checked(losses, wanted.losses.shape)
        except Exception as error:  # a peer's bug is a result to report, not a reason to stop
            said = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
            tally.add(case, None)
        else:
            found = {"loss": losses} | {field: g for field, g in gradients.items() if field not in constant}
            right = {"loss": wanted.losses, **wanted.gradients}
            scale = {"loss": wanted.loss_scale, **wanted.gradient_scale}
            asked = _asked(case, each, dtype)
            if reduction != "none":
                asked["loss"] = np.asarray(asked["loss"].all())
            errors = {
                field: np.where(asked[field], relative_error(x, right[field], scale[field], FLOOR[dtype]), 0.0)
                for field, x in found.items()
            }
            worst = {field: float(error.max(initial=0)) for field, error in errors.items()}
            worst_loss = max(worst_loss or 0.0, worst["loss"])
            if worst_gradient is not None:
                worst_gradient = max([worst_gradient, *(error for field, error in worst.items() if field != "loss")])
            limit = {field: RTOL[dtype, "loss" if field == "loss" else "gradient"] for field in worst}
            beyond = [field for field in worst if worst[field] > limit[field]]
            wrong = {field: _examples(bound, field, errors[field] > limit[field], len(each.losses)) for field in beyond}
            tally.add(case, np.any([*wrong.values(), np.zeros(len(each.losses), bool)], 0))
            if not beyond:
                continue
            first = max(beyond, key=lambda field: (field == "loss", worst[field]))
            said = where(first, found[first], right[first], errors[first])
            if not bound.coupled and reduction == "none":
                example = _example(bound, first, errors[first])
        if not problem:
            problem = f"case {index}{which}, {bound!r}: {said}"
            call = _call(name, candidate, backend=backend, dtype=dtype, cases=index + 1, size=size, seed=seed,
                         constant=tuple(constant), without=tuple(without), reduction=reduction)  # fmt: skip
            shown = {"inputs": as_code(case, example, backend, dtype), "again": call, "case": case}
    said = ", ".join(f"{n}={this.values[n]!r}" for n in held) if isinstance(name, str) else ""
    result = Result(
        this.name, backend, dtype, cases, worst_loss, worst_gradient, problem + tally.common(), said, **shown
    )
    if check and not result:
        raise Mismatch(str(result))
    return result


def _check_arguments(
    this: Objective, backend: str, dtype: str, cases: int, size: int, seed: int, constant: Any, without: Any,
    reduction: str,
) -> None:  # fmt: skip
    if backend not in BACKENDS:
        raise ValueError(f"There is no backend {backend!r}; there are {', '.join(BACKENDS)}.{meant(backend, BACKENDS)}")
    if dtype not in UNIT:
        raise ValueError(f"There is no dtype {dtype!r} to conform in; there are {', '.join(UNIT)}.{meant(dtype, UNIT)}")
    if cases < 1 or size < 1:
        raise ValueError(f"At least one case of one example has to be run; got cases={cases}, size={size}.")
    if seed < 0:
        raise ValueError(f"The seed must be a whole number from 0; got {seed}.")
    for argument, names in (("constant", constant), ("without", without)):
        if isinstance(names, str):
            raise ValueError(f"Give {argument} as a list of names, [{names!r}].")
    if reduction not in (known := ("none", "mean", "sum")):
        raise ValueError(f"There is no reduction {reduction!r}; there are {', '.join(known)}.{meant(reduction, known)}")
    if unknown := set(constant) - set(this.family._fields):
        near = meant(min(unknown), this.family._fields)
        raise ValueError(f"{named(this.family)} has no {', '.join(sorted(unknown))} to hold constant.{near}")
    if unknown := set(without) - set(CONVENTIONS) - this.optional:
        options = [*CONVENTIONS, *sorted(this.optional)]
        raise ValueError(
            f"`{this.name}` cannot be drawn without {', '.join(sorted(unknown))}; without may name {', '.join(options)}."
            f"{meant(min(unknown), options)}"
        )
    if lacking := missing(backend):
        raise ImportError(lacking)


def _draw(
    this: Objective, rng: np.random.Generator, size: int, index: int, deck: Deck, held: Collection[str], dtype: str,
    without: Collection[str],
) -> Case:  # fmt: skip
    ordinary = "extreme" in without
    case = draw_case(this, rng, size, WIDEST if index % 2 and not ordinary else 30.0, deck, held)
    infinite = index % 4 == 3 and "infinite" not in without
    edges = 0 if ordinary and not infinite else size // 3 or index % 2
    batch = with_edges(case.objective, case.batch, rng.spawn(1)[0], deck, edges, infinite, dtype)
    deck.count()
    if "empty" in without:
        batch = without_empty(batch, certain=not ordinary)
    batch = batch._replace(**{name: None for name in this.optional if name in without})
    return Case(case.objective, _rounded(batch, dtype))


def _with_one_alone(cases: Iterable[Case], example: int) -> Iterator[tuple[int, str, Case]]:
    """Numbered cases, and of the first an example alone, where the objective is defined for one."""
    for index, case in enumerate(cases):
        yield index, "", case
        if index == 0:
            one = Case(case.objective, one_alone(case.batch, example))
            try:
                with np.errstate(all="ignore"):
                    one.objective(one.batch)
            except ValueError:  # a hyper-parameter per example, say
                continue
            yield index, ", one example alone", one


def _asked(case: Case, wanted: Expected, dtype: str) -> dict[str, npt.NDArray[np.bool_]]:
    """By "loss" and by field of a gradient: which entries have an answer; all of them where every log-prob is finite."""
    objective, batch = case
    shapes = layout_of(objective.family).shapes
    everything = {"loss": wanted.losses, **wanted.gradients}
    if not any(np.isinf(x).any() for x in batch if x is not None):
        return {field: np.full(x.shape, True) for field, x in everything.items()}
    with np.errstate(all="ignore"):
        own, rounded = objective(batch), objective(_rounded(batch, dtype, np.dtype(dtype)))
    # Infinities may compete, in one order of operations or the other; and a factor may be 0 in float32 alone.
    known = ~np.isnan(wanted.losses) & ~np.isnan(own) & (np.isinf(own) == np.isinf(rounded))
    finite = known & np.isfinite(wanted.losses)
    if any(isinstance(param.domain, Base) for param in objective.params.values()):
        finite = finite & ~conventions(objective, batch)["infinite"]  # a base may have an infinite slope
    asked = {"loss": known}
    for field, slopes in wanted.gradients.items():
        at = shapes[field][0].find("b")
        rows = finite if at >= 0 and not objective.coupled else np.full(slopes.shape[at], finite.all())
        asked[field] = np.isfinite(slopes) & np.expand_dims(rows, [d for d in range(slopes.ndim) if d != max(at, 0)])
    return asked


def _examples(objective: Objective, field: str, wrong: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.bool_]:
    """Which examples, (batch,), have a wrong entry; all of them where the field is of no example."""
    at = 0 if field == "loss" else layout_of(objective.family).shapes[field][0].find("b")
    if wrong.ndim == 0:
        return np.full(size, bool(wrong))
    return np.full(size, True) if at < 0 else np.any(np.moveaxis(wrong, at, 0).reshape(size, -1), axis=1)


def _example(objective: Objective, field: str, error: npt.NDArray[Any]) -> int | None:
    at = 0 if field == "loss" else layout_of(objective.family).shapes[field][0].find("b")
    return None if at < 0 else int(np.unravel_index(int(error.argmax()), error.shape)[at])


def _call(name: str | Objective, candidate: Candidate | None, **arguments: Any) -> str:
    plain = {p.name: p.default for p in inspect.signature(conform).parameters.values()}
    shown = [f"{key}={value!r}" for key, value in arguments.items() if value != plain[key]]
    mine = [] if candidate is None else [_named(candidate)]
    return f"conform({', '.join([repr(name), *mine, *shown])})"


def _named(candidate: Candidate) -> str:
    """As it was written, where it has a name of its own."""
    if isinstance(candidate, Objective):
        return repr(candidate)
    name = getattr(candidate, "__name__", "")
    return name if name.isidentifier() and not inspect.ismethod(candidate) else "candidate"


def _with_reference(name: str | Objective, candidate: Candidate | None) -> Objective:
    if isinstance(name, str):
        this = zoo[name]
        return this.bind(**{key: value for key, value in fixed(candidate).items() if key in this.params})
    if not isinstance(name, Objective) or not (zoo.has(name) or name.reference):
        said = f"`{name.name}`" if isinstance(name, Objective) else f"{type(name).__name__}"
        if isinstance(name, Objective) and name.name in zoo:
            said += f", which is not the `{name.name}` of poz"
        raise TypeError(
            f"conform needs an objective that has a reference, or its name; got {said}. Give your own as candidate, "
            "or its reference, @objective(..., reference=...)."
        )
    return name


def _checked(losses: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    if np.shape(losses) != shape:
        one = "one loss per example is required" if shape else "the reduced loss is required"
        do = "Leave the mean to the caller, or name it as the reduction" if shape else "Name no reduction"
        raise ValueError(f"{one}, shape {shape}; got shape {np.shape(losses)}. {do}.")
    if np.iscomplexobj(losses):
        raise TypeError("real losses are required; got complex ones.")
    return np.asarray(losses, np.float64)


def verify(
    names: Iterable[str | Objective], backends: Iterable[Backend], cases: int = 20, seed: int = 0
) -> Iterator[Result]:
    """Every objective, by name or bound, on every backend that can run it, one result at a time."""
    for name in names:
        for backend in backends:
            if not runs(name, backend):
                continue
            yield conform(
                name, backend=backend, dtype="float32" if backend == "triton" else "float64", cases=cases, seed=seed
            )


def _rounded(batch: Any, dtype: str, kept: Any = np.float64) -> Any:
    """Log-probs and data that the dtype can hold, as float64 for the reference."""
    return type(batch)(*[x.astype(dtype).astype(kept) if x is not None and x.dtype.kind == "f" else x for x in batch])
