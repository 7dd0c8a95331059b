"""`linear_logps`: hidden states and an LM head to token log-probabilities, without the logits."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.sharding import Mesh

from poz._memory import bytes_of
from poz.jax.head.arrays import array, check_arrays, check_targets
from poz.jax.head.derivative import log_probs
from poz.jax.head.mesh import AxisNames, Lying, axis_size, lying, lying_as_named, over_mesh
from poz.jax.head.plan import Plan, Shape, make_plan, wide
from poz.jax.head.settings import Settings, check_outputs, check_scaling

Array = Any


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

        logp_n = z[n, t_n] - log Σ_j exp z[n, j],    z = cap(s (h Wᵀ + b)) / T

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
        mesh: Devices to spread over. With None, arrays on the explicit axes of a mesh (those of `jax.make_mesh`) say by
            themselves how they lie: rows over any dimensions but the last, the vocabulary over one axis. Others are taken
            to be whole, or `shard_map` is around the call, under `jax.jit`.
        data_axis: Axis, or axes, of `mesh` over which the first dimension of `hidden` and `targets` is sharded.
        vocabulary_axis: Axis over which V is sharded. The weight is never gathered: per token, the largest logit, the
            sums and the target's logit are reduced over it, and in the backward pass the gradient of `hidden`.

    Returns:
        (...) float32 if `outputs` is ("logps",), else `LinearLogps`. Equal calls give equal bits, whatever needs a
        gradient and whatever `memory` is.

    Raises:
        TypeError, ValueError: With a sentence, before anything is computed.
    """
    check_scaling(temperature, logit_scale, softcap, precision, ignore_index)
    names = check_outputs(outputs)
    given = {"hidden": hidden, "weight": weight, "targets": targets}
    hidden, weight, targets = (array(name, x) for name, x in given.items())
    bias = None if bias is None else array("bias", bias)
    check_arrays(hidden, weight, targets, bias)
    if targets.dtype.itemsize < 4:  # neither ignore_index nor V need fit in
        targets = targets.astype(jnp.int32)
    if not -(2 ** (8 * targets.dtype.itemsize - 1)) <= ignore_index <= jnp.iinfo(targets.dtype).max:
        raise ValueError(f"ignore_index must be a number of {targets.dtype}, as targets are; got {ignore_index}.")
    settings = Settings(
        ignore_index=int(ignore_index),
        scale=float(logit_scale),
        softcap=None if softcap is None else float(softcap),
        temperature=float(temperature),
        outputs=names,
        limit=bytes_of(memory),
        exact=precision == "exact",
        axis=vocabulary_axis,
    )
    where: Lying | None
    if mesh is not None:
        where = lying_as_named(mesh, data_axis, vocabulary_axis, weight, targets)
    elif data_axis is not None:
        raise ValueError("data_axis names an axis of mesh, which is missing; inside shard_map it is not needed.")
    else:
        where = lying(hidden, weight, bias, targets) if vocabulary_axis is None else None
    shards = axis_size(vocabulary_axis, weight) if where is None else 1
    check_targets(targets, ignore_index, weight.shape[0] * shards)
    if where is None:
        results = _logps(settings, hidden, weight, bias, targets)
    else:
        results = over_mesh(_logps, settings, where, hidden, weight, bias, targets)
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
    names = check_outputs(outputs)
    dtype = jnp.dtype(hidden.dtype)
    shape = Shape(rows, weight.shape[1], weight.shape[0], dtype, dtype, hidden_gradient, head_gradient, names)
    return make_plan(shape, bytes_of(memory))


def _logps(settings: Settings, hidden: Array, weight: Array, bias: Array, targets: Array) -> tuple[Array, ...]:
    if targets.size == 0:
        return tuple(jnp.zeros(targets.shape, wide(hidden.dtype)) for _ in settings.outputs)
    flat = log_probs(settings, hidden.reshape(-1, hidden.shape[-1]), weight, bias, targets.reshape(-1))
    return tuple(x.reshape(targets.shape) for x in flat)
