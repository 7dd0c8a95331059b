"""The functions of a library against the references, its facts against what is right: one record each, as it goes into JSON."""

from __future__ import annotations

import functools
import inspect
import math
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from poz.objective import Objective
from poz.peers._library import Absent, Fact, Library, LogProbs, Loss, about, taking
from poz.peers._log_probs import measured
from poz.peers._state import state
from poz.testing.answers import expected
from poz.testing.conformance import Dtype, conform
from poz.testing.draws import Case, draw_case
from poz.testing.edges import CONVENTIONS, without_empty
from poz.testing.runners import BACKENDS
from poz.testing.tolerances import relative_error
from poz.testing.verdict import Result, as_code
from poz.zoo import zoo

EQUAL, SETTINGS, DIFFERS, ABSENT = "equal", "equal under settings", "differs", "cannot be called"
AS_SAID, OTHERWISE, STANDS, MENDED, MEASURED = "as said", "otherwise", "stands", "mended", "measured"
DTYPES: tuple[Dtype, ...] = ("float64", "float32")  # some compute in float32 whatever they are given
FEW = 2  # cases that show what is no equal at all
APART = 1e-4  # of a loss with one nat beside it: no rounding, in float32 either, of numbers of one decimal
TOLERANCE = 1e-4  # of a fact: what is told apart is; a float32 sum is not
Record = dict[str, Any]


def audit(library: Library, objective: str = "", *, cases: int = 8, seed: int = 0) -> Iterator[Record]:
    """One record per function and fact of a library that is installed; what a function raises is its record.

    Rows about other versions have none.

    Raises:
        TypeError: `library` is none.
        ValueError: It is not installed, there is no such objective, or nothing would be drawn.

    Args:
        library: One of `poz.peers.libraries()`.
        objective: Only what is about this one, by its name; all where it is "".
        cases: Draws of inputs and hyper-parameters for a loss.
        seed: Of the draws.
    """
    if not isinstance(library, Library):
        raise TypeError(
            f"`library` must be one of poz.peers.libraries(), such as libraries()['TRL']; got {library!r:.60}."
        )
    if objective and objective not in zoo:
        raise ValueError(f"There is no objective {objective!r}. {zoo.hint(objective)}")
    if cases < 1:
        raise ValueError(f"At least one case has to be drawn; got cases={cases}.")
    if not library.version():
        raise ValueError(f"{library.name} is not installed; poz.peers.results() has what was found of it elsewhere.")
    rows: list[Loss | LogProbs | Fact] = [*library.losses, *library.logps, *library.facts]
    judges: list[Callable[[], Record]] = [
        *(functools.partial(_loss, one, cases=cases, seed=seed) for one in library.losses),
        *(functools.partial(_log_probs, one, seed=seed) for one in library.logps),
        *(functools.partial(_fact, one) for one in library.facts),
    ]
    head = {"library": library.name, "version": library.version()}
    for row, record, judge in zip(rows, declared(library), judges, strict=True):
        if objective in ("", record.get("objective", "")) and about(row, head["version"]):
            begin = time.monotonic()
            found = head | record | _judged(judge) | {"digest": state(row)}
            yield found | {"seconds": round(time.monotonic() - begin, 2)}


def declared(library: Library) -> list[Record]:
    """What the rows of a library say, as records without verdicts."""
    return [*map(_of_loss, library.losses), *map(_of_log_probs, library.logps), *map(_of_fact, library.facts)]


def _judged(judge: Callable[[], Record]) -> Record:
    try:
        return judge()
    except Absent as error:
        why = str(error) or "The library has no such function."
    except (Exception, SystemExit) as error:  # what a library does with it is the finding
        why = f"It raises {_raised(error)}"
    return {"verdict": ABSENT, "why": why}


def _raised(error: BaseException) -> str:
    """In one line, without the folders of this machine."""
    said = " ".join(re.sub(r" \(/[^)]*\)|/\S*/site-packages/", "", str(error)).split())
    return f"{type(error).__name__}: {said}"[:240] if said else type(error).__name__


def _of_loss(loss: Loss) -> Record:
    return {
        "kind": "loss", "objective": loss.objective, "function": loss.function, "does": loss.does,
        "settings": {name: _plain(value) for name, value in loss.settings.items()}, "given": loss.given,
        "topic": loss.topic,
    }  # fmt: skip


def _loss(loss: Loss, *, cases: int, seed: int) -> Record:
    function, everything, problem = loss.make(), tuple(CONVENTIONS), ""
    called: Dtype | None = None
    for verdict, settings in ((EQUAL, {}), (SETTINGS, loss.settings))[: 1 + bool(loss.settings)]:
        for dtype in DTYPES:
            run = functools.partial(_conform, loss, function, settings, cases=cases, seed=seed, dtype=dtype)
            first = run(everything, cases=min(cases, FEW))
            if first.loss_error is not None:
                called = called or dtype
            problem = first.problem
            if not first:
                continue
            found = {"verdict": verdict, "dtype": dtype}
            if run(()):
                return found | {"but_for": []}
            if run(everything):
                needed = list(CONVENTIONS)
                for one in CONVENTIONS:  # each that is not needed is taken back
                    left = [kind for kind in needed if kind != one]
                    needed = left if run(tuple(left)) else needed
                return found | {"but_for": needed}
    if not called:
        return {"verdict": ABSENT, "why": f"It raises on every batch: {problem}"}
    return {"verdict": DIFFERS, "dtype": called} | _smallest(loss, function, called, cases=cases, seed=seed)


def _conform(
    loss: Loss, function: Callable[..., Any], settings: Any, without: tuple[str, ...], *, cases: int, seed: int, dtype: Dtype
) -> Result:  # fmt: skip
    return conform(
        loss.objective, functools.partial(_taking(function, zoo[loss.objective], settings), **settings),
        backend=loss.backend, dtype=dtype, cases=cases, seed=seed, constant=loss.constant,
        without=(*without, *loss.lacks), reduction=loss.reduction,
    )  # fmt: skip


def _taking(function: Callable[..., Any], this: Objective, settings: Any) -> Callable[..., Any]:
    """The function, which takes the settings of poz too and leaves them."""
    own = [name for name in list(inspect.signature(function).parameters)[1:] if name in this.params]

    def call(batch: Any, **values: Any) -> Any:
        return function(batch, **{name: value for name, value in values.items() if name in own})

    return taking(call, dict.fromkeys([*own, *settings]))


def _smallest(loss: Loss, function: Callable[..., Any], dtype: Dtype, *, cases: int, seed: int) -> Record:
    """A loss that is wrong, else a gradient, in one example of small round numbers or a few; else a case of `conform`."""
    this, rng, shown = zoo[loss.objective], np.random.default_rng([seed, 1]), Record()
    candidate = _taking(function, this, loss.settings)
    held = set(this.params) - set(inspect.signature(candidate).parameters) | set(loss.settings)
    for size in (1, 1, 1, 1, 2, 2, 3, 4):
        case = draw_case(this.bind(**loss.settings), rng, size, 3.0, None, held)
        drawn = case.batch._asdict() | dict.fromkeys(loss.lacks)
        batch = without_empty(case.batch._replace(**{n: _short(x) for n, x in drawn.items()}))
        values = {n: round(v, 2) if isinstance(v, float) else v for n, v in case.objective.values.items()}
        try:
            bound = this.bind(**values)
            bound.check(batch)
        except ValueError:  # a number that may not be rounded
            continue
        wanted = expected(bound, batch).reduced(loss.reduction)
        right = {"loss": wanted.losses, **{n: g for n, g in wanted.gradients.items() if n not in loss.constant}}
        said = {"with": repr(bound), "example": as_code(Case(bound, batch), None, loss.backend, dtype)}
        try:
            losses, slopes = BACKENDS[loss.backend](candidate, bound, batch, dtype)
            given = {"loss": losses, **{n: g for n, g in slopes.items() if n in right}}
            off = {n: relative_error(x, right[n], np.abs(right[n]) + 1) for n, x in given.items()}
        except Exception as error:  # what a library does with it is the finding
            shown = shown or said | {"problem": _raised(error)}
            continue
        for name in [name for name, each in off.items() if each.max() > APART and (name == "loss" or not shown)]:
            at = np.unravel_index(int(off[name].argmax()), off[name].shape)
            pair = {"theirs": float(given[name][at]), "right": float(right[name][at])}
            found = said | {"where": name} | {key: _plain(value) for key, value in pair.items()}
            if name == "loss":
                return found
            shown = found
    if shown:
        return shown
    result = _conform(loss, function, loss.settings, tuple(CONVENTIONS), cases=cases, seed=seed, dtype=dtype)
    return {"problem": result.problem, "example": result.inputs}


def _short(x: Any) -> Any:
    return np.round(x, 1) + 0.0 if x is not None and x.dtype.kind == "f" else x  # no -0.0


def _of_fact(fact: Fact) -> Record:
    bug = fact.right is not None
    return {
        "kind": "bug" if bug else "fact", "key": fact.key, "objective": fact.objective, "does": fact.does, "topic": fact.topic,
        "gives": _plain(fact.gives),
    } | ({"right": _plain(fact.right), "because": fact.because, "link": fact.link} if bug else {})  # fmt: skip


def _fact(fact: Fact) -> Record:
    bug, got = fact.right is not None, fact.call()
    verdict = (STANDS if bug else AS_SAID) if same(got, fact.gives) else OTHERWISE
    return {"verdict": MENDED if bug and same(got, fact.right) else verdict, "got": _plain(got)}


def same(a: Any, b: Any) -> bool:
    """Whether what a fact gives is that, rounding aside; NaN is NaN."""
    a, b = (x.tolist() if hasattr(x, "tolist") else x for x in (a, b))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12) or (math.isnan(a) and math.isnan(b))
    return bool(a == b)


def _plain(value: Any, digits: int = 7) -> Any:
    """As JSON has it: no NaN, no infinity, no tuple, no array, few digits."""
    if isinstance(value, Objective):
        return repr(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(one, digits) for one in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else repr(value)
    return value


def _of_log_probs(this: LogProbs) -> Record:
    return {"kind": "log-probs", "function": this.function}


def _log_probs(this: LogProbs, *, seed: int) -> Record:
    """Errors against float64 on the same inputs, in nats, and what becomes of ignored, empty and NaN rows."""
    found = measured(this, this.make(), seed)
    return {"verdict": MEASURED} | {
        name: _plain(value, digits=2) for name, value in found.items()
    }  # others have other processors
