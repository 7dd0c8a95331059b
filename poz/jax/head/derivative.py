"""The log-probs of rows under a head as one function with a derivative of its own."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from poz.jax.head.backward import Wants, backward
from poz.jax.head.forward import forward
from poz.jax.head.logits import narrow_gradients
from poz.jax.head.mesh import axis_size, mapped_axes, summed_like, varying
from poz.jax.head.plan import Plan, Shape, make_plan, on_cpu, wide
from poz.jax.head.rows import Head, Work, gather_rows, stored
from poz.jax.head.settings import Settings
from poz.jax.head.statistics import Statistics
from poz.jax.head.waiting import Kept

Array = Any


class _Residuals(NamedTuple):
    wants: Wants
    hidden: Array
    weight: Array
    bias: Array
    targets: Array
    statistics: Statistics | None
    kept: Kept | None
    slopes: Array


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def log_probs(settings: Settings, hidden: Array, weight: Array, bias: Array, targets: Array) -> tuple[Array, ...]:
    """`settings.outputs` of hidden (N, D), weight (V, D), bias (V,) or None and targets (N,), each (N,)."""
    plan = _plan(settings, hidden, weight, bias, targets, Wants(False, False, False))
    return _forward(settings, plan, hidden, weight, bias, targets)[0]


def _log_probs_forward(
    settings: Settings, hidden: Any, weight: Any, bias: Any, targets: Any
) -> tuple[tuple[Array, ...], _Residuals]:
    wants = Wants(hidden.perturbed, weight.perturbed, bias is not None and bias.perturbed)
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
    work = _work(settings, plan, hidden, weight, bias, targets, taking_part)
    statistics, kept, slopes = forward(work)
    found = statistics.outputs(settings.outputs)
    results = tuple(jnp.where(taking_part, found[name][work.rows.place], 0) for name in settings.outputs)
    return results, statistics, kept, None if slopes is None else slopes[work.rows.place]


def _log_probs_backward(settings: Settings, residuals: _Residuals, upstream: tuple[Any, ...]) -> tuple[Array, ...]:
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
    work = _work(settings, plan, hidden, weight, bias, targets, active)
    rows = work.rows
    ordered = {name: jnp.where(rows.takes_part, varying(x, work.axes)[rows.order], 0) for name, x in given.items()}
    of_hidden, of_weight, of_bias = backward(work, statistics, kept, ordered, wants)
    if of_hidden is not None:
        of_hidden = jnp.where(active[:, None], of_hidden[rows.place], 0)
    gradients = ((of_hidden, hidden), (of_weight, weight), (of_bias, bias))
    return (*(None if gradient is None else _as_given(gradient, of) for gradient, of in gradients), None)


log_probs.defvjp(_log_probs_forward, _log_probs_backward, symbolic_zeros=True)


def _plan(settings: Settings, hidden: Array, weight: Array, bias: Array, targets: Array, wants: Wants) -> Plan:
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
    crossing = mapped_axes(hidden, bias, targets) - mapped_axes(weight)
    return wide(weight.dtype) if crossing else weight.dtype


def _work(
    settings: Settings, plan: Plan, hidden: Array, weight: Array, bias: Array, targets: Array, active: Array
) -> Work:
    summed, narrow = (
        _head_dtype(hidden, weight, bias, targets),
        narrow_gradients(hidden.dtype, settings.exact, on_cpu()),
    )
    axes = mapped_axes(hidden, weight, bias, targets)
    hidden, weight, bias = (varying(x, axes) for x in (hidden, weight, bias))
    first = 0 if settings.axis is None else jax.lax.axis_index(settings.axis) * weight.shape[0]
    vocabulary = weight.shape[0] * axis_size(settings.axis, weight)
    rows = gather_rows(hidden, targets, active, settings, plan, first, vocabulary)
    return Work(settings, plan, rows, Head(stored(weight), bias, weight.dtype), axes, summed, narrow)


def _as_given(gradient: Array, array: Array) -> Array:
    return summed_like(gradient, mapped_axes(array)).astype(array.dtype)


@jax.custom_jvp
def _differentiable_once(x: Array) -> Array:
    return x


@_differentiable_once.defjvp
def _refuse(primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(
        "linear_logps has first derivatives only; for a second one use jax.nn.log_softmax on the logits."
    )
