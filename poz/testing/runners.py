"""An implementation run by a backend: losses and gradients of a drawn batch, as NumPy arrays."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from poz._extras import require
from poz.backends import namespace
from poz.families import layout_of
from poz.objective import Objective
from poz.zoo import zoo

KEPT = 500  # programs of JAX: those of some fifty objectives
Arrays = dict[str, npt.NDArray[Any]]
Candidate = Callable[..., Any]
Backend = Literal["numpy", "torch", "torch.compile", "jax", "triton"]


def missing(backend: str) -> str:
    """What to install before the backend can run; "" where everything is there."""
    try:
        require(f"The backend {backend!r}", *PACKAGES.get(backend, ("",)))
    except ImportError as error:
        return str(error)
    return ""


def runs(name: str | Objective, backend: str) -> bool:
    """Whether the backend can run the objective."""
    return not refusal(name, backend)


def refusal(name: str | Objective, backend: str) -> str:
    """Why the backend cannot run the objective; "" where it can."""
    from poz.kernels.layout import no_tokens

    this = zoo[name] if isinstance(name, str) else name
    if backend != "triton":
        return ""
    if not zoo.has(this):
        return "the kernels run the objectives of poz, by name"
    return no_tokens(this)


def fixed(candidate: Candidate | None) -> dict[str, Any]:
    """What the candidate has bound itself: keywords of a partial, and what an objective has other than by default."""
    if isinstance(candidate, functools.partial):
        return {**fixed(candidate.func), **candidate.keywords}
    if isinstance(candidate, Objective):
        plain = {name: param.default for name, param in candidate.params.items()}
        return {name: value for name, value in candidate.values.items() if not np.array_equal(value, plain[name])}
    return {}


def taken(candidate: Candidate, names: Iterable[str]) -> frozenset[str]:
    """Those of the hyper-parameters that the candidate takes, and has not bound itself."""
    free = frozenset(names) - set(fixed(candidate))
    try:
        _, *rest = inspect.signature(getattr(candidate, "forward", candidate)).parameters.values()
    except (TypeError, ValueError):  # nothing is known about it
        return free
    if any(one.kind is one.VAR_KEYWORD for one in rest):
        return free
    return free & {one.name for one in rest if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)}


def _bound(candidate: Candidate | None, objective: Objective) -> Callable[[Any], Any]:
    if candidate is None:
        return objective
    known = taken(candidate, objective.values)
    return functools.partial(candidate, **{name: value for name, value in objective.values.items() if name in known})


def _alone(losses: Any, library: str) -> Any:
    kind = type(losses).__name__
    if isinstance(losses, (tuple, list, dict)):
        raise TypeError(f"an array of losses alone is required; got a {kind}. Leave out what stands beside them.")
    if not hasattr(losses, "dtype") or namespace(losses).name != library:
        raise TypeError(f"an array of {library} is required for the losses; got a {kind}.")
    return losses


def _check_untouched(given: Any, batch: Any, dtype: str) -> None:
    for name, x in batch._asdict().items():
        if x is not None and not np.array_equal(
            np.asarray(given[name]), x.astype(dtype) if x.dtype.kind == "f" else x, equal_nan=x.dtype.kind == "f"
        ):
            raise ValueError(f"the input `{name}` was changed in place; leave what is given as it is.")


def _numpy(candidate: Candidate | None, objective: Objective, batch: Any, dtype: str) -> tuple[Any, Arrays]:
    given = type(batch)(*[None if x is None else x.astype(dtype if x.dtype.kind == "f" else x.dtype) for x in batch])
    with np.errstate(all="ignore"):
        losses = _alone(_bound(candidate, objective)(given), "numpy")
    _check_untouched(given._asdict(), batch, dtype)
    return losses, {}


def _torch(candidate: Candidate | None, objective: Objective, batch: Any, dtype: str) -> tuple[Any, Arrays]:
    import torch

    names = log_prob_fields(objective, batch)
    with torch.inference_mode(False), torch.enable_grad():  # whatever the caller has switched off
        given = {
            n: torch.tensor(x, dtype=getattr(torch, dtype) if x.dtype.kind == "f" else None, requires_grad=n in names)
            for n, x in batch._asdict().items()
            if x is not None
        }
        losses = _alone(_bound(candidate, objective)(type(batch)(**given)), "torch")
        _check_untouched({n: x.detach().numpy() for n, x in given.items()}, batch, dtype)
        if not losses.requires_grad:
            raise ValueError(
                "the losses are cut off from the log-probs. Leave out detach(), and what switches gradients off."
            )
        slopes = torch.autograd.grad(losses.sum(), [given[n] for n in names], allow_unused=True)
    zero = {n: np.zeros(given[n].shape) for n in names}
    return losses.detach().numpy(), {n: zero[n] if g is None else g.numpy() for n, g in zip(names, slopes, strict=True)}


def _compiled(
    candidate: Candidate | None, objective: Objective, batch: Any, dtype: str, by: str = "aot_eager_default_partitioner"
) -> tuple[Any, Arrays]:
    # Traced and differentiated as for any compiler; the other partitioner ponders what to keep for the backward pass.
    import torch

    torch._dynamo.reset()
    run = _bound(candidate, objective)
    whole = torch.compile(lambda given, **values: run(given), fullgraph=True, backend=by)
    return _torch(whole, objective, batch, dtype)


def _jax(
    candidate: Candidate | None, objective: Objective, batch: Any, dtype: str, **options: bool
) -> tuple[Any, Arrays]:
    import jax
    import jax.numpy as jnp

    names = log_prob_fields(objective, batch)
    with jax.enable_x64(dtype == "float64"):
        given = {
            n: jnp.asarray(x, dtype if x.dtype.kind == "f" else None)
            for n, x in batch._asdict().items()
            if x is not None
        }
        traced = {n: v for n, v in objective.values.items() if isinstance(v, float) and n in objective.params}

        def total(slopes: Any, rest: Any, hyper: Any) -> Any:
            losses = _alone(_bound(candidate, _traced(objective, hyper))(type(batch)(**slopes, **rest)), "jax")
            return losses.sum(), losses

        moving = {n: given.pop(n) for n in names}
        try:
            slopes, losses = _run(jax.jit(jax.grad(total, has_aux=True)), options, moving, given, traced)
        except Exception:
            if candidate is None:
                raise
            made = jax.jit(jax.grad(total, has_aux=True))  # it asks for numbers
            slopes, losses = _run(made, options, moving, given, {})
        return np.asarray(losses), {n: np.asarray(g) for n, g in slopes.items()}


_PROGRAMS: dict[Any, Any] = {}
"""What XLA made, by its source: compiling takes ten times as long as tracing."""


def _run(function: Any, options: dict[str, bool], *arguments: Any) -> Any:
    """A jitted function's result; compiled once for all functions that are traced to the same program."""
    lowered = function.lower(*arguments)
    key = (lowered.as_text(), lowered.in_tree, lowered.out_tree, *options.items())
    if key not in _PROGRAMS:
        try:
            _PROGRAMS[key] = lowered.compile(options)
        except RuntimeError:  # an XLA that has no such option
            _PROGRAMS[key] = lowered.compile()
        if len(_PROGRAMS) > KEPT:
            del _PROGRAMS[next(iter(_PROGRAMS))]
    return _PROGRAMS[key](*arguments)


def _traced(objective: Objective, hyper: dict[str, Any]) -> Objective:
    # tau = 0 changes what `mnpo` reads, so numbers at the end of their domain stay plain numbers.
    free = {n: v for n, v in hyper.items() if objective.values[n] not in (objective.params[n].domain.low, 0.0)}  # type: ignore[attr-defined]
    return objective.bind(**free)


def _triton(candidate: Candidate | None, objective: Objective, batch: Any, dtype: str) -> tuple[Any, Arrays]:
    from poz.kernels.loss import fused_losses

    def fused(given: Any, **values: Any) -> Any:
        return fused_losses(objective.name, given, values, implementation="triton")

    return _torch(candidate or fused, objective, batch, dtype)


def log_prob_fields(objective: Objective, batch: Any) -> list[str]:
    """The fields that are outputs of a model, are read, and are there: what there are gradients of."""
    read = objective.reads | objective.optional
    return [
        n
        for n, (_, kind) in layout_of(objective.family).shapes.items()
        if kind in ("logp", "feature") and n in read and getattr(batch, n) is not None
    ]


BACKENDS: dict[Backend, Callable[..., tuple[Any, Arrays]]] = {
    "numpy": _numpy,
    "torch": _torch,
    "torch.compile": _compiled,
    "jax": _jax,
    "triton": _triton,
}
"""What `conform` can run: name -> function from (candidate, objective, batch, dtype) to losses and gradients."""
ALONE = BACKENDS | {
    "torch.compile": functools.partial(_compiled, by="eager"),
    "jax": functools.partial(_jax, xla_cpu_use_fusion_emitters=False),
}
"""The same for an example alone, another shape and so another program: traced whole, but compiled in half of the time."""
PACKAGES = {
    "torch": ("torch", "torch"),
    "torch.compile": ("torch", "torch"),
    "jax": ("jax", "jax"),
    "triton": ("triton", "torch", "triton"),
}
"""By backend: the extra of poz that brings it, and what that has to bring."""
