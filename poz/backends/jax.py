"""JAX primitives; see `poz.backends`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

Real = Any

name = "jax"

exp, log, where, cumsum = jnp.exp, jnp.log, jnp.where, jnp.cumsum
expm1, log1p, arctan = jnp.expm1, jnp.log1p, jnp.arctan
sigmoid, log_sigmoid, softplus, relu = jax.nn.sigmoid, jax.nn.log_sigmoid, jax.nn.softplus, jax.nn.relu
_reshard: Any = jax.reshard
mean, ones_like, stop_gradient = jnp.mean, jnp.ones_like, jax.lax.stop_gradient


def maximum(x: Real, least: float) -> Real:
    """max(x, least)."""
    return jnp.where(x <= least, least, x)  # jnp.maximum has slope 1/2 at the kink


def minimum(x: Real, most: float) -> Real:
    """min(x, most)."""
    return jnp.where(x >= most, most, x)


def clip(x: Real, low: float, high: float) -> Real:
    """x held within [low, high]."""
    return minimum(maximum(x, low), high)


def sum(x: Real, axis: int | None = None) -> Real:  # noqa: A001
    """Sum over one axis, or over all."""
    return jnp.sum(x, axis=axis)


def amax(x: Real, axis: int) -> Real:
    """Largest value along an axis."""
    return jnp.max(x, axis=axis)


def logsumexp(x: Real, axis: int) -> Real:
    """Log-sum-exp along an axis that has at least one entry above -inf."""
    return jax.nn.logsumexp(x, axis=axis)


def argsort(x: Real) -> Real:
    """Order of the last axis, ascending; equal entries stay in order. Over a mesh as `x` is."""
    order = jnp.argsort(whole(x), axis=-1, stable=True)
    return _reshard(order, jax.typeof(x).sharding) if _explicit(x) else order


def whole(x: Real) -> Real:
    """The same array, whole on each device of an explicit mesh."""
    if not _explicit(x):
        return x
    everywhere: Any = jax.sharding.PartitionSpec
    return _reshard(x, jax.NamedSharding(jax.typeof(x).sharding.mesh, everywhere()))


def _explicit(x: Real) -> bool:
    """Whether its type says how it lies over a mesh."""
    return any(entry is not None for entry in jax.typeof(x).sharding.spec)


def concatenate(parts: Sequence[Real], axis: int) -> Real:
    """Join along an axis."""
    return jnp.concatenate(parts, axis=axis)


def gather(table: Real, index: Real) -> Real:
    """`table[index]` along the first axis, over a mesh as `index` is; NaN where a traced index lies outside."""
    sharding: Any = jax.typeof(index).sharding
    explicit = any(kind == jax.sharding.AxisType.Explicit for kind in sharding.mesh.axis_types)
    out = sharding if explicit else None
    return whole(table).at[index].get(mode="fill", wrap_negative_indices=False, out_sharding=out)


def segment_sum(x: Real, index: Real, size: int) -> Real:
    """Sums of the entries with the same index."""
    return jax.ops.segment_sum(x, index, size)


def constant(value: npt.ArrayLike, like: Real) -> Real:
    """`value` in the dtype of `like`."""
    return jnp.asarray(value, dtype=like.dtype)


def astype(x: Real, like: Real) -> Real:
    """`x` in the dtype of `like`."""
    return x.astype(like.dtype)


def integers(x: Real) -> Real:
    """`x` in 64 bit, or in 32 where JAX has no more."""
    return x.astype(int)


def is_array(x: object) -> bool:
    """Arrays and tracers."""
    return isinstance(x, jax.Array)


def kind(x: Real) -> str:
    """See `poz.backends.Namespace.kind`."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return "half" if x.dtype.itemsize < 4 else "real"
    if x.dtype == jnp.bool_:
        return "bool"
    return "integer" if jnp.issubdtype(x.dtype, jnp.integer) else "other"


def widen(x: Real) -> Real:
    """A 16-bit array in 32 bit."""
    return x.astype(jnp.float32)


def device(x: Real) -> object:
    """JAX places arrays itself and says so when it cannot."""
    return None


def readable(x: Real) -> bool:
    """Whether it is a concrete array on the host's own processor, no tracer and no accelerator's."""
    return not isinstance(x, jax.core.Tracer) and all(d.platform == "cpu" for d in x.devices())


def values(x: Real) -> npt.NDArray[Any] | None:
    """The values of a concrete array on the host's own processor; None for a tracer or an accelerator's array."""
    return np.asarray(x) if readable(x) else None
