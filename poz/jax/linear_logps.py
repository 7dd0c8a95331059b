"""`linear_logps`: hidden states and an LM head to token log-probabilities, without the logits."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from poz._memory import bytes_of
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
        bias: (V,), sharded as `weight`; -inf takes a token out.
        ignore_index: Target of the rows that take no part; they give 0 and get no gradient.
        temperature: T > 0, divides the logits last.
        logit_scale: s, multiplies them first.
        softcap: Bound on their size, > 0; None for none.
        outputs: Of "logps", "lse", "entropy".
        memory: Bytes, or text such as "512MiB": the most to use on each device beyond inputs, outputs and gradients.
        precision: "exact", or "fast", which allows a platform's default 32-bit products and rounds d logits of bfloat16
            inputs to bfloat16, a relative error of 2e-3 per logit; "exact" does the latter on accelerators only.
        mesh: Devices to spread over; with None, the arrays are taken to be whole, or `shard_map` is around the call.
        data_axis: Axis, or axes, of `mesh` over which the first dimension of `hidden` and `targets` is sharded.
        vocabulary_axis: Axis over which V is sharded. The weight is never gathered: per token, the largest logit, the
            sums and the target's logit are reduced over it, and in the backward pass the gradient of `hidden`.

    Returns:
        (...) float32 if `outputs` is ("logps",), else `LinearLogps`. Equal calls give equal bits, whatever needs a
        gradient and, on a CPU, whatever `memory` is.

    Raises:
        TypeError, ValueError: With a sentence, before anything is computed.
    """
    _check_scaling(temperature, logit_scale, softcap, precision, ignore_index)
    names = _check_outputs(outputs)
    hidden, weight, targets = (_array(name, x) for name, x in _named(hidden, weight, targets))
    bias = None if bias is None else _array("bias", bias)
    _check_arrays(hidden, weight, targets, bias)
    settings = Settings(
        int(ignore_index), float(logit_scale), None if softcap is None else float(softcap), float(temperature), names,
        bytes_of(memory), precision == "exact", vocabulary_axis,
    )  # fmt: skip
    if mesh is None:
        if data_axis is not None:
            raise ValueError("data_axis names an axis of mesh, which is missing; inside shard_map it is not needed.")
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
    shape = Shape(rows, *weight.shape[::-1], jnp.dtype(hidden.dtype), hidden_gradient, head_gradient, names)
    return make_plan(shape, bytes_of(memory))


def _logps(settings: Settings, hidden: Array, weight: Array, bias: Array, targets: Array) -> tuple[Array, ...]:
    if targets.size == 0:
        return tuple(jnp.zeros(targets.shape, wide(hidden.dtype)) for _ in settings.outputs)
    flat = _core(settings, hidden.reshape(-1, hidden.shape[-1]), weight, bias, targets.reshape(-1))
    return tuple(x.reshape(targets.shape) for x in flat)


def _over_mesh(
    settings: Settings, mesh: Mesh, data_axis: AxisNames, hidden: Array, weight: Array, bias: Array, targets: Array
) -> tuple[Array, ...]:
    axes = (data_axis,) if isinstance(data_axis, str) else data_axis or ()
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
    arrays, specs = (hidden, weight, bias, targets), (by_row, by_token, by_token, by_row)
    if any(kind == jax.sharding.AxisType.Explicit for kind in mesh.axis_types):
        arrays = tuple(
            None if x is None else jax.reshard(x, NamedSharding(mesh, spec)) for x, spec in zip(arrays, specs, strict=True)
        )
    mapped = jax.shard_map(
        partial(_logps, settings), mesh=mesh, in_specs=specs, out_specs=tuple(by_row for _ in settings.outputs)
    )
    return tuple(mapped(*arrays))


class _Residuals(NamedTuple):
    hidden: Array
    weight: Array
    bias: Array
    targets: Array
    statistics: Statistics | None
    kept: Kept | None
    slopes: Array


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _core(settings: Settings, hidden: Array, weight: Array, bias: Array, targets: Array) -> tuple[Array, ...]:
    plan = _plan(settings, hidden, weight, False, False)
    return _forward(settings, plan, hidden, weight, bias, targets)[0]


def _core_forward(
    settings: Settings, hidden: Any, weight: Any, bias: Any, targets: Any
) -> tuple[tuple[Array, ...], _Residuals]:
    wants = _Wants.of(hidden, weight, bias)
    hidden, weight, bias, targets = (
        None if x is None else x.value for x in (hidden, weight, bias, targets)
    )
    hidden, weight, bias = (None if x is None else _differentiable_once(x) for x in (hidden, weight, bias))
    plan = _plan(settings, hidden, weight, wants.hidden, wants.weight or wants.bias)
    results, statistics, kept, slopes = _forward(settings, plan, hidden, weight, bias, targets)
    if plan.mode == "one pass":
        # Of these, the backward pass reads only dtypes and over which axes they differ.
        return results, _Residuals(hidden[:0], weight[:0], None if bias is None else bias[:0], targets, None, None, slopes)
    return results, _Residuals(hidden, weight, bias, targets, statistics, kept, None)


class _Wants(NamedTuple):
    hidden: bool
    weight: bool
    bias: bool

    @classmethod
    def of(cls, hidden: Any, weight: Any, bias: Any) -> _Wants:
        return cls(hidden.perturbed, weight.perturbed, bias is not None and bias.perturbed)
