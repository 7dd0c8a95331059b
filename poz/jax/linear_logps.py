"""`linear_logps`: hidden states and an LM head to token log-probabilities, without the logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import lru_cache, partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from poz._memory import bytes_of
from poz._scaling import check_factors
from poz.backends.jax import values
from poz.jax import _linear_passes as passes
from poz.jax._linear_passes import Head, Kept, Rows, Settings, Statistics
from poz.jax._linear_plan import Plan, Shape, make_plan, on_cpu, wide

Array = Any
AxisNames = str | tuple[str, ...] | None
OUTPUTS = ("logps", "lse", "entropy")
DTYPES = ("float32", "bfloat16", "float16", "float64")


class LinearLogps(NamedTuple):
    """Per-token outputs of `linear_logps`, each (...), differentiable and 0 where ignored; None if not asked for.

    Attributes:
        logps: Log-probability of the target, nats.
        lse: Log-sum-exp of the logits, nats.
        entropy: Of the distribution, nats.
    """

    logps: Array = None
    lse: Array = None
    entropy: Array = None


def linear_logps(
    hidden: Array,
    weight: Array,
    targets: Array,
    *,
    bias: Array = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    outputs: tuple[str, ...] = ("logps",),
    memory: int | str = "1GiB",
    precision: str = "exact",
    mesh: Mesh | None = None,
    data_axis: AxisNames = None,
    vocabulary_axis: str | None = None,
) -> Any:
    r"""Log-probability of each target under a linear head.

    .. math:: \ell_n = z_{n,t_n} - \log \sum_j e^{z_{n,j}}, \qquad z = \mathrm{cap}\bigl(s\,(h W^\top + b)\bigr) / T

    with cap(x) = softcap * tanh(x / softcap). Logits are never rounded to 16 bit and never all there at once: they are
    made for a tile of the vocabulary and a block of rows at a time. Give the batch as leading dimensions; `jax.vmap` is
    right too, but makes a gradient of the head for each element before it adds them up.

    Which gradients are needed is found out: where the head needs none (it is not differentiated, or is under
    `jax.lax.stop_gradient`), one pass makes d logp / d hidden with the log-probs (4NVD operations for N rows, V tokens
    and D hidden sizes). Otherwise logits wait for the backward pass where the head's gradient will be, which costs
    nothing, and in `memory` (6NVD); those that do not fit are computed again (up to 8NVD).

    Ignored rows are moved behind the others and left out in steps: whole blocks of rows, or quarters where there are
    few blocks.

    Args:
        hidden: (..., D) float32, bfloat16, float16 (or float64, which is computed and returned in float64).
        weight: (V, D), the dtype of `hidden`; this device's shard of it inside `shard_map` with `vocabulary_axis`.
        targets: (...) integers in [0, V), or `ignore_index`. Checked where their values are known and on a CPU;
            elsewhere the log-probability of a token that does not exist is NaN.
        bias: (V,), sharded as `weight`; -inf takes a token out, whatever the cap and the scale.
        ignore_index: Target of the rows that take no part; they give 0 and get no gradient.
        temperature: T > 0, divides the logits last.
        logit_scale: s, multiplies them first.
        softcap: Bound on their size, > 0; None for none.
        outputs: Of "logps", "lse", "entropy".
        memory: Bytes, or text such as "512MiB": the most to use on each device beyond inputs, outputs and gradients. On a
            CPU no logits are kept beyond a quarter of the plain formula's peak; more would save a tenth of the time.
        precision: "exact", or "fast", which allows a platform's default 32-bit products and rounds d logits of bfloat16
            inputs to bfloat16, a relative error of 2e-3 per logit; "exact" does the latter on accelerators only.
        mesh: Devices to spread over; with None, the arrays are taken to be whole, or `shard_map` is around the call,
            under `jax.jit`.
        data_axis: Axis, or axes, of `mesh` over which the first dimension of `hidden` and `targets` is sharded.
        vocabulary_axis: Axis over which V is sharded. The weight is never gathered: per token, the largest logit, the
            sums and the target's logit are reduced over it, and in the backward pass the gradient of `hidden`.

    Returns:
        (...) float32 if `outputs` is ("logps",), else `LinearLogps`. Equal calls give equal bits, whatever needs a
        gradient and whatever `memory` is.

    Raises:
        TypeError, ValueError: With a sentence, before anything is computed.
    """
    _check_scaling(temperature, logit_scale, softcap, precision, ignore_index)
    names = _check_outputs(outputs)
    hidden, weight, targets = (_array(name, x) for name, x in _named(hidden, weight, targets))
    bias = None if bias is None else _array("bias", bias)
    _check_arrays(hidden, weight, targets, bias)
    if targets.dtype.itemsize < 4:  # neither ignore_index nor V need fit in
        targets = targets.astype(jnp.int32)
    if not -(2 ** (8 * targets.dtype.itemsize - 1)) <= ignore_index <= jnp.iinfo(targets.dtype).max:
        raise ValueError(f"ignore_index must be a number of {targets.dtype}, as targets are; got {ignore_index}.")
    settings = Settings(
        int(ignore_index), float(logit_scale), None if softcap is None else float(softcap), float(temperature), names,
        bytes_of(memory), precision == "exact", vocabulary_axis,
    )  # fmt: skip
    if mesh is None:
        if data_axis is not None:
            raise ValueError("data_axis names an axis of mesh, which is missing; inside shard_map it is not needed.")
        _check_layout(hidden, weight, bias, targets)
        shards = _axis_size(vocabulary_axis, weight)
        _check_targets(targets, ignore_index, weight.shape[0] * shards)
        results = _logps(settings, hidden, weight, bias, targets)
    else:
        _check_targets(targets, ignore_index, weight.shape[0])
        results = _over_mesh(settings, mesh, data_axis, hidden, weight, bias, targets)
    return results[0] if names == ("logps",) else LinearLogps(**dict(zip(names, results, strict=True)))


def linear_logps_plan(
    hidden: Array,
    weight: Array,
    *,
    outputs: tuple[str, ...] = ("logps",),
    memory: int | str = "1GiB",
    hidden_gradient: bool = True,
    head_gradient: bool = True,
) -> Plan:
    """What `linear_logps` does on one device with such arrays; nothing is computed, `jax.ShapeDtypeStruct` will do.

    Raises:
        ValueError: The memory is too little or cannot be read.
    """
    rows = math.prod(hidden.shape[:-1])
    names = _check_outputs(outputs)
    dtype = jnp.dtype(hidden.dtype)
    shape = Shape(rows, weight.shape[1], weight.shape[0], dtype, dtype, hidden_gradient, head_gradient, names)
    return make_plan(shape, bytes_of(memory))


def _logps(settings: Settings, hidden: Array, weight: Array, bias: Array, targets: Array) -> tuple[Array, ...]:
    if targets.size == 0:
        return tuple(jnp.zeros(targets.shape, wide(hidden.dtype)) for _ in settings.outputs)
    flat = _core(settings, hidden.reshape(-1, hidden.shape[-1]), weight, bias, targets.reshape(-1))
    return tuple(x.reshape(targets.shape) for x in flat)


def _over_mesh(
    settings: Settings, mesh: Mesh, data_axis: AxisNames, hidden: Array, weight: Array, bias: Array, targets: Array
) -> tuple[Array, ...]:
    if not isinstance(mesh, (Mesh, jax.sharding.AbstractMesh)):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, as jax.make_mesh gives; got {type(mesh).__name__}.")
    axes = (data_axis,) if isinstance(data_axis, str) else data_axis or ()
    if not isinstance(axes, tuple) or len(set(axes)) < len(axes):
        raise ValueError(
            f"data_axis must be the name of an axis of mesh, or a tuple of different ones; got {data_axis!r}."
        )
    for name in (*axes, *((settings.axis,) if settings.axis is not None else ())):
        if name not in mesh.shape:
            raise ValueError(f"mesh has the axes {', '.join(map(str, mesh.shape))}; got {name!r}.")
    if settings.axis in axes:
        raise ValueError(f"data_axis and vocabulary_axis must differ; got {settings.axis!r} for both.")
    shards = math.prod(mesh.shape[name] for name in axes)
    if axes and (targets.ndim == 0 or targets.shape[0] % shards):
        raise ValueError(
            f"The first dimension of hidden must divide over {shards} devices of data_axis; got {tuple(hidden.shape)}. Pad it "
            "with rows whose target is ignore_index."
        )
    parts = mesh.shape[settings.axis] if settings.axis is not None else 1
    if weight.shape[0] % parts:
        raise ValueError(
            f"V must divide over {parts} devices of vocabulary_axis; got {weight.shape[0]}. Pad weight with rows of 0 and bias "
            "with -inf."
        )
    by_row, by_token = Spec(axes) if axes else Spec(), Spec(settings.axis)
    arrays: tuple[Array, ...] = hidden, weight, bias, targets
    specs = by_row, by_token, by_token, by_row
    if any(kind == jax.sharding.AxisType.Explicit for kind in mesh.axis_types):
        arrays = tuple(
            None if x is None else jax.reshard(x, NamedSharding(mesh, spec))
            for x, spec in zip(arrays, specs, strict=True)
        )
    return tuple(_mapped(settings, mesh, specs)(*arrays))


@lru_cache(maxsize=64)
def _mapped(settings: Settings, mesh: Mesh, specs: tuple[Spec, ...]) -> Callable[..., tuple[Array, ...]]:
    # Eagerly, shard_map takes no custom derivative that asks what needs a gradient, and would compile one step at a time.
    mapped = jax.shard_map(
        partial(_logps, settings), mesh=mesh, in_specs=specs, out_specs=tuple(specs[0] for _ in settings.outputs)
    )
    return jax.jit(mapped)


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Wants:
    """Which arrays need a gradient."""

    hidden: bool
    weight: bool
    bias: bool

    @property
    def head(self) -> bool:
        return self.weight or self.bias


class _Residuals(NamedTuple):
    wants: _Wants
    hidden: Array
    weight: Array
    bias: Array
    targets: Array
    statistics: Statistics | None
    kept: Kept | None
    slopes: Array


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _core(settings: Settings, hidden: Array, weight: Array, bias: Array, targets: Array) -> tuple[Array, ...]:
    plan = _plan(settings, hidden, weight, bias, targets, _Wants(False, False, False))
    return _forward(settings, plan, hidden, weight, bias, targets)[0]


def _core_forward(
    settings: Settings, hidden: Any, weight: Any, bias: Any, targets: Any
) -> tuple[tuple[Array, ...], _Residuals]:
    wants = _Wants(hidden.perturbed, weight.perturbed, bias is not None and bias.perturbed)
    hidden, weight, bias = (None if x is None else _differentiable_once(x.value) for x in (hidden, weight, bias))
    targets = targets.value
    plan = _plan(settings, hidden, weight, bias, targets, wants)
    results, statistics, kept, slopes = _forward(settings, plan, hidden, weight, bias, targets)
    if plan.mode == "one pass":  # of the hidden states, only the dtype and the axes they differ over are still needed
        return results, _Residuals(wants, hidden[:0], None, None, targets, None, None, slopes)
    return results, _Residuals(wants, hidden, weight, bias, targets, statistics, kept, None)


def _forward(
    settings: Settings, plan: Plan, hidden: Array, weight: Array, bias: Array, targets: Array
) -> tuple[tuple[Array, ...], Statistics, Kept, Array]:
    taking_part = targets != settings.ignore_index
    rows, head, axes = _laid_out(settings, plan, hidden, weight, bias, targets, taking_part)
    narrow = passes.narrow_gradients(hidden.dtype, settings.exact, on_cpu())
    statistics, kept, slopes = passes.forward(
        head, rows, settings, plan, narrow, axes, _head_dtype(hidden, weight, bias, targets)
    )
    found = {"logps": statistics.logp, "entropy": statistics.entropy}
    if "lse" in settings.outputs:
        found["lse"] = statistics.shift + jnp.log(statistics.total)
    results = tuple(jnp.where(taking_part, found[name][rows.place], 0) for name in settings.outputs)
    return results, statistics, kept, None if slopes is None else slopes[rows.place]


def _core_backward(settings: Settings, residuals: _Residuals, upstream: tuple[Any, ...]) -> tuple[Array, ...]:
    wants, hidden, weight, bias, targets, statistics, kept, slopes = residuals
    given = {
        name: x
        for name, x in zip(settings.outputs, upstream, strict=True)
        if not isinstance(x, jax.custom_derivatives.SymbolicZero)
    }
    if not given:
        return (None,) * 4
    # Rows with nothing upstream give nothing, also where 0 would be multiplied by NaN.
    active = (targets != settings.ignore_index) & reduce(jnp.logical_or, (x != 0 for x in given.values()))
    if statistics is None or kept is None:  # one pass
        of_hidden = jnp.where(active[:, None], given["logps"][:, None] * slopes, 0)
        return _as_given(of_hidden, hidden), None, None, None
    plan = _plan(settings, hidden, weight, bias, targets, wants)
    rows, head, axes = _laid_out(settings, plan, hidden, weight, bias, targets, active)
    narrow = passes.narrow_gradients(hidden.dtype, settings.exact, on_cpu())
    ordered = {name: jnp.where(rows.takes_part, passes.varying(x, axes)[rows.order], 0) for name, x in given.items()}
    head_dtype = _head_dtype(hidden, weight, bias, targets)
    of_hidden, of_weight, of_bias = passes.backward(
        head, rows, statistics, kept, ordered, settings, plan, narrow, axes, astuple(wants), head_dtype
    )
    if of_hidden is not None:
        of_hidden = jnp.where(active[:, None], of_hidden[rows.place], 0)
    gradients = ((of_hidden, hidden), (of_weight, weight), (of_bias, bias))
    return (*(None if gradient is None else _as_given(gradient, of) for gradient, of in gradients), None)


_core.defvjp(_core_forward, _core_backward, symbolic_zeros=True)


def _plan(settings: Settings, hidden: Array, weight: Array, bias: Array, targets: Array, wants: _Wants) -> Plan:
    summed = _head_dtype(hidden, weight, bias, targets)
    shape = Shape(
        hidden.shape[0],
        weight.shape[1],
        weight.shape[0],
        hidden.dtype,
        summed,
        wants.hidden,
        wants.head,
        settings.outputs,
        wants.bias and not wants.weight,
    )
    return make_plan(shape, settings.limit)


def _head_dtype(hidden: Array, weight: Array, bias: Array, targets: Array) -> Any:
    """The dtype in which the head's gradient is summed up: over devices, never in 16 bit."""
    crossing = passes.mapped_axes(hidden, bias, targets) - passes.mapped_axes(weight)
    return wide(weight.dtype) if crossing else weight.dtype


def _laid_out(
    settings: Settings, plan: Plan, hidden: Array, weight: Array, bias: Array, targets: Array, active: Array
) -> tuple[Rows, Head, frozenset[str]]:
    axes = passes.mapped_axes(hidden, weight, bias, targets)
    hidden, weight, bias = (passes.varying(x, axes) for x in (hidden, weight, bias))
    first = 0 if settings.axis is None else jax.lax.axis_index(settings.axis) * weight.shape[0]
    vocabulary = weight.shape[0] * _axis_size(settings.axis, weight)
    rows = passes.gather_rows(hidden, targets, active, settings, plan, first, vocabulary)
    return rows, Head(passes.stored(weight), bias, weight.dtype), axes


def _as_given(gradient: Array, array: Array) -> Array:
    return passes.summed_like(gradient, passes.mapped_axes(array)).astype(array.dtype)


@jax.custom_jvp
def _differentiable_once(x: Array) -> Array:
    return x


@_differentiable_once.defjvp
def _refuse(primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(
        "linear_logps has first derivatives only; for a second one use jax.nn.log_softmax on the logits."
    )


def _axis_size(axis: str | None, weight: Array) -> int:
    if axis is None:
        return 1
    if axis not in passes.mapped_axes(weight):
        raise ValueError(
            f"vocabulary_axis={axis!r} needs mesh, or a call inside jax.shard_map (with check_vma left on) in which weight is "
            "sharded over that axis."
        )
    return int(jax.lax.axis_size(axis))


def _named(hidden: Array, weight: Array, targets: Array) -> tuple[tuple[str, Array], ...]:
    return ("hidden", hidden), ("weight", weight), ("targets", targets)


def _array(name: str, x: Array) -> Array:
    if isinstance(x, np.ndarray):
        return jnp.asarray(x)
    if not isinstance(x, jax.Array):
        raise TypeError(f"{name} must be a JAX array; got {type(x).__name__}.")
    return x


def _check_scaling(temperature: Any, logit_scale: Any, softcap: Any, precision: str, ignore_index: Any) -> None:
    for name, x in (("temperature", temperature), ("logit_scale", logit_scale), ("softcap", softcap)):
        number = isinstance(x, (int, float, np.number)) and not isinstance(x, bool)
        if not number and not (name == "softcap" and x is None):
            raise TypeError(f"{name} must be a Python number, known while tracing; got {type(x).__name__}.")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite; got {temperature}.")
    if not -math.inf < logit_scale < math.inf:
        raise ValueError(f"logit_scale must be finite; got {logit_scale}.")
    if softcap is not None and not 0 < softcap < math.inf:
        raise ValueError(f"softcap must be positive and finite, or None for no cap; got {softcap}.")
    check_factors(temperature, logit_scale, softcap)
    if precision not in ("exact", "fast"):
        raise ValueError(f"precision must be 'exact' or 'fast'; got {precision!r}.")
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, (int, np.integer)):
        raise TypeError(f"ignore_index must be an integer; got {type(ignore_index).__name__}.")


def _check_outputs(outputs: tuple[str, ...]) -> tuple[str, ...]:
    known = isinstance(outputs, (tuple, list)) and all(name in OUTPUTS for name in outputs)
    if not known or not outputs or len(set(outputs)) < len(outputs):
        raise ValueError(f"outputs must be a tuple of different names among {', '.join(OUTPUTS)}; got {outputs!r}.")
    return tuple(outputs)


def _check_arrays(hidden: Array, weight: Array, targets: Array, bias: Array) -> None:
    if weight.ndim != 2 or hidden.ndim < 1 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"hidden must be (..., D) and weight (V, D); got {tuple(hidden.shape)} and {tuple(weight.shape)}. A kernel stored as "
            "(D, V), as flax.nnx.Linear does, has to be transposed."
        )
    if 0 in weight.shape:
        raise ValueError(f"weight must hold at least one token and one hidden size; got {tuple(weight.shape)}.")
    if targets.shape != hidden.shape[:-1]:
        raise ValueError(
            f"targets must have the shape of hidden without its last dimension, {tuple(hidden.shape[:-1])}; got "
            f"{tuple(targets.shape)}."
        )
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"targets must be integers; got {targets.dtype}.")
    if hidden.dtype.name not in DTYPES or weight.dtype != hidden.dtype:
        raise TypeError(
            f"hidden and weight must share one of {', '.join(DTYPES)}; got {hidden.dtype} and {weight.dtype}. Convert one."
        )
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype not in (hidden.dtype, jnp.float32)):
        raise ValueError(
            f"bias must be ({weight.shape[0]},) of {' or '.join(dict.fromkeys((hidden.dtype.name, 'float32')))}; got "
            f"{tuple(bias.shape)} of {bias.dtype}."
        )


def _check_layout(*arrays: Array) -> None:
    for x in arrays:
        layout: Any = None if x is None else jax.typeof(x).sharding
        if layout is not None and any(axis is not None for axis in layout.spec):
            raise ValueError(
                f"An array is laid out over a mesh as {layout.spec}: give the mesh, and its axis as data_axis or vocabulary_axis."
            )


def _check_targets(targets: Array, ignore_index: int, vocabulary: int) -> None:
    known = values(targets)
    if known is None:
        return
    wrong = (known != ignore_index) & ((known < 0) | (known >= vocabulary))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"targets must lie in [0, {vocabulary}) or be ignore_index={ignore_index}; got {int(known[at])} at {list(at)}."
        )
