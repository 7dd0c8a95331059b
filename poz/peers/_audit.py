"""The functions of a library against the references, its facts against what is right: one record each, as it goes into JSON."""

from __future__ import annotations

import functools
import inspect
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from poz.objective import Objective
from poz.peers._library import Absent, Fact, Library, LogProbs, Loss
from poz.peers._log_probs import measured
from poz.testing.conformance import _reduced, conform, expected
from poz.testing.draws import Case, draw_case
from poz.testing.edges import CONVENTIONS, without_empty
from poz.testing.runners import BACKENDS
from poz.testing.tolerances import relative_error
from poz.testing.verdict import Result, as_code
from poz.zoo import zoo

EQUAL, SETTINGS, DIFFERS, ABSENT = "equal", "equal under settings", "differs", "cannot be called"
AS_SAID, OTHERWISE, STANDS, MENDED, MEASURED = "as said", "otherwise", "stands", "mended", "measured"
APART = 1e-6  # of a loss with one nat beside it: no rounding, in float32 either, of numbers of one decimal
TOLERANCE = 1e-4  # of a fact: what is told apart is; a float32 sum is not
Record = dict[str, Any]


def audit(library: Library, objective: str = "", *, cases: int = 8, seed: int = 0) -> Iterator[Record]:
    """One record per function and fact of a library that is installed.

    Args:
        library: One of `poz.peers.libraries()`.
        objective: Only what is about this one; all where it is "".
        cases: Draws of inputs and hyper-parameters for a loss.
        seed: Of the draws.
    """
    judges: list[tuple[Any, Callable[[Any], Record]]] = [
        *((one, functools.partial(_loss, cases=cases, seed=seed)) for one in library.losses),
        *((one, functools.partial(_log_probs, seed=seed)) for one in library.logps if not objective),
        *((one, _fact) for one in library.facts),
    ]
    head = {"library": library.name, "version": library.version()}
    for one, judge in judges:
        if objective in ("", getattr(one, "objective", "")):
            begin = time.monotonic()
            yield head | judge(one) | {"seconds": round(time.monotonic() - begin, 2)}


def _reached(make: Callable[[], Any]) -> tuple[Any, str]:
    """What the library gives, or why it does not."""
    try:
        return make(), ""
    except Absent as error:
        return None, str(error)
    except (ImportError, AttributeError) as error:
        return None, ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


def _loss(loss: Loss, cases: int, seed: int) -> Record:
    record: Record = {
        "kind": "loss", "objective": loss.objective, "function": loss.function, "does": loss.does,
        "settings": {name: _plain(value) for name, value in loss.settings.items()}, "given": loss.given,
        "topic": loss.topic,
    }  # fmt: skip
    function, why = _reached(loss.make)
    if why:
        return record | {"verdict": ABSENT, "why": why}
    for verdict, settings in ((EQUAL, {}), (SETTINGS, loss.settings))[: 1 + bool(loss.settings)]:
        for dtype in ("float64", "float32"):  # some compute in float32 whatever they are given
            run = functools.partial(_conform, loss, function, settings, cases=cases, seed=seed, dtype=dtype)
            found = record | {"verdict": verdict, "dtype": dtype}
            if run(()):
                return found | {"but_for": []}
            if run(tuple(CONVENTIONS)):
                needed = list(CONVENTIONS)
                for one in CONVENTIONS:  # each that is not needed is taken back
                    left = [kind for kind in needed if kind != one]
                    needed = left if run(tuple(left)) else needed
                return found | {"but_for": needed}
    return record | {"verdict": DIFFERS} | _smallest(loss, function, seed)


def _conform(
    loss: Loss, function: Callable[..., Any], settings: Any, without: tuple[str, ...], *, cases: int, seed: int,
    dtype: str = "float64",
) -> Result:  # fmt: skip
    this = zoo[loss.objective]
    return conform(
        loss.objective, functools.partial(_taking(function, this, settings), **settings), backend=loss.backend,
        dtype=dtype, cases=cases, seed=seed, constant=loss.constant, without=without, reduction=loss.reduction,
    )  # fmt: skip


def _taking(function: Callable[..., Any], this: Objective, settings: Any) -> Callable[..., Any]:
    """The function, which takes the settings of poz too and leaves them."""
    taken = [p for p in list(inspect.signature(function).parameters.values())[1:] if p.name in this.params]
    own = {p.name for p in taken}

    def call(batch: Any, **values: Any) -> Any:
        return function(batch, **{name: value for name, value in values.items() if name in own})

    added = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in settings if n not in own]
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("batch", inspect.Parameter.POSITIONAL_ONLY), *taken, *added]
    )
    return call


def _smallest(loss: Loss, function: Callable[..., Any], seed: int) -> Record:
    """Where it is wrong: one example of small round numbers, more where one is never wrong, else a case of `conform`."""
    this, rng = zoo[loss.objective], np.random.default_rng([seed, 1])
    candidate = _taking(function, this, loss.settings)
    held = set(this.params) - set(inspect.signature(candidate).parameters) | set(loss.settings)
    for size in (1, 1, 1, 1, 2, 2, 3, 4):
        case = draw_case(this.bind(**loss.settings), rng, size, 3.0, None, held)
        batch = without_empty(case.batch._replace(**{n: _short(x) for n, x in case.batch._asdict().items()}))
        values = {n: round(v, 2) if isinstance(v, float) else v for n, v in case.objective.values.items()}
        try:
            bound = this.bind(**values)
            wanted = _reduced(expected(bound, batch), loss.reduction)
        except ValueError:  # a number that may not be rounded
            continue
        right = {"loss": wanted.losses, **{n: g for n, g in wanted.gradients.items() if n not in loss.constant}}
        said = {"with": repr(bound), "example": as_code(Case(bound, batch), None, loss.backend, "float64")}
        try:
            losses, slopes = BACKENDS[loss.backend](candidate, bound, batch, "float64")
        except Exception as error:  # what a library does with it is the finding
            return said | {"problem": ": ".join([type(error).__name__, *str(error).splitlines()[:1]])}
        for field, theirs in {"loss": losses, **slopes}.items():
            if field in right and (off := relative_error(theirs, right[field], np.abs(right[field]) + 1)).max() > APART:
                at = np.unravel_index(int(off.argmax()), off.shape)
                found = {"where": field, "theirs": float(theirs[at]), "right": float(right[field][at])}
                return said | {name: _plain(value) for name, value in found.items()}
    result = _conform(loss, function, loss.settings, tuple(CONVENTIONS), cases=8, seed=seed)
    return {"problem": result.problem, "example": result.inputs}


def _short(x: Any) -> Any:
    return np.round(x, 1) if x is not None and x.dtype.kind == "f" else x


def _fact(fact: Fact) -> Record:
    bug = fact.right is not None
    record: Record = {
        "kind": "bug" if bug else "fact", "key": fact.key, "objective": fact.objective, "does": fact.does, "topic": fact.topic,
        "gives": _plain(fact.gives),
    } | ({"right": _plain(fact.right), "because": fact.because, "link": fact.link} if bug else {})  # fmt: skip
    got, why = _reached(fact.call)
    if why:
        return record | {"verdict": ABSENT, "why": why}
    verdict = (STANDS if bug else AS_SAID) if _same(got, fact.gives) else OTHERWISE
    return record | {"verdict": MENDED if bug and _same(got, fact.right) else verdict, "got": _plain(got)}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, str) or isinstance(b, str):
        return bool(a == b)
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12) or (math.isnan(a) and math.isnan(b))


def _plain(value: Any) -> Any:
    """As JSON has it: no NaN, no infinity, no tuple, seven digits."""
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Objective):
        return repr(value)
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else repr(value)
    return value


def _log_probs(this: LogProbs, seed: int) -> Record:
    """Errors against float64 on the same inputs, in nats, and what becomes of ignored, empty and NaN rows."""
    record: Record = {"kind": "log-probs", "function": this.function}
    function, why = _reached(this.make)
    if why:
        return record | {"verdict": ABSENT, "why": why}
    try:
        return record | {"verdict": MEASURED} | {name: _plain(x) for name, x in measured(this, function, seed).items()}
    except Exception as error:  # what a library does with it is the finding
        return record | {"verdict": ABSENT, "why": ": ".join([type(error).__name__, *str(error).splitlines()[:1]])}
