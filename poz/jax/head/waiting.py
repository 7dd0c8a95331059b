"""Logits that wait for the backward pass, and where."""

from __future__ import annotations

from typing import Any, NamedTuple

from jax import lax

Array = Any
LODGED, KEPT, AGAIN = range(3)


class Kept(NamedTuple):
    """Logits kept for the backward pass.

    Attributes:
        lodged: (V, D), `stored`, the buffer that becomes the head's gradient; until a strip's gradient is written, its logits are
            in the strip's part of it. None where none are lodged.
        beside: (strips, units, block_rows, tile), or None.
    """

    lodged: Array
    beside: Array


def lodge(buffer: Array, logits: Array, start: Any, before: Any) -> Array:
    """The buffer with logits in the strip that starts at element `start` of it, after `before` other logits."""
    flat = logits.reshape(-1)
    if buffer.dtype.itemsize != flat.dtype.itemsize:
        flat, before = lax.bitcast_convert_type(flat, buffer.dtype).reshape(-1), 2 * before
    return lax.dynamic_update_slice(buffer.reshape(-1), flat, (start + before,)).reshape(buffer.shape)


def lodging(buffer: Array, start: Any, before: Any, shape: tuple[int, int], dtype: Any) -> Array:
    """Logits from there."""
    count = shape[0] * shape[1]
    if buffer.dtype.itemsize == dtype.itemsize:
        return lax.dynamic_slice_in_dim(buffer.reshape(-1), start + before, count).reshape(shape)
    halves = lax.dynamic_slice_in_dim(buffer.reshape(-1), start + 2 * before, 2 * count)
    return lax.bitcast_convert_type(halves.reshape(*shape, 2), dtype)
