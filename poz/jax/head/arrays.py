"""What is refused of the arrays of a call."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from poz.backends.jax import values

Array = Any
DTYPES = ("float32", "bfloat16", "float16", "float64")


def array(name: str, x: Array) -> Array:
    """A JAX array of what is one, or of NumPy's."""
    if isinstance(x, np.ndarray):
        return jnp.asarray(x)
    if not isinstance(x, jax.Array):
        raise TypeError(f"{name} must be a JAX array; got {type(x).__name__}.")
    return x


def check_arrays(hidden: Array, weight: Array, targets: Array, bias: Array) -> None:
    """Shapes and dtypes."""
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


def check_targets(targets: Array, ignore_index: int, vocabulary: int) -> None:
    """Values, where they are known."""
    known = values(targets)
    if known is None:
        return
    wrong = (known != ignore_index) & ((known < 0) | (known >= vocabulary))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"targets must lie in [0, {vocabulary}) or be ignore_index={ignore_index}; got {int(known[at])} at {list(at)}."
        )
