"""The rows and the head as the passes read them: in blocks, in the dtype in which they are cut."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from poz.jax.head.mesh import mapped_axes, varying
from poz.jax.head.plan import Plan, storage
from poz.jax.head.settings import Settings

Array = Any


class Head(NamedTuple):
    """The head, or this device's shard of it.

    Attributes:
        weight: (V, D), `stored`.
        bias: (V,) or None.
        dtype: Of the weight and of the hidden states.
    """

    weight: Array
    bias: Array
    dtype: Any


class Rows(NamedTuple):
    """Rows in the order they are computed in: those that take part first, padded to whole blocks.

    Attributes:
        hidden: (blocks, block_rows, D), `stored`; 0 where nothing is active.
        targets: (blocks, block_rows) index in this shard of the head; -1 where nothing takes part.
        order: (blocks * block_rows,) index of the row that was given.
        place: (rows,) where each given row went.
        takes_part: (blocks * block_rows,) true where it does.
        active: (blocks * block_rows,) true where it does and, in the backward pass, has an upstream gradient other than 0.
        unknown: (blocks * block_rows,) true where it does, with a target that no shard of the head has.
    """

    hidden: Array
    targets: Array
    order: Array
    place: Array
    takes_part: Array
    active: Array
    unknown: Array


def stored(x: Array) -> Array:
    """The array in its `storage`."""
    return lax.bitcast_convert_type(x, storage(x.dtype)) if storage(x.dtype) != x.dtype else x


def restored(x: Array, dtype: Any) -> Array:
    """The array out of its `storage`."""
    return x if x.dtype == dtype else lax.bitcast_convert_type(lax.optimization_barrier(x), dtype)


class Work(NamedTuple):
    """What both passes are given.

    Attributes:
        settings: Of the call.
        plan: How it is cut.
        rows: In the order they are computed in.
        head: Or this device's shard of it.
        axes: Of the mesh, over which the rows or the head differ between devices.
        head_dtype: In which the head's gradient is summed up.
        narrow: Whether d logits are rounded to bfloat16 before their products.
    """

    settings: Settings
    plan: Plan
    rows: Rows
    head: Head
    axes: frozenset[str]
    head_dtype: Any
    narrow: bool


class Unit(NamedTuple):
    """One block of rows times one tile of the vocabulary.

    Attributes:
        block: Number of the block.
        part: Of the tile in its strip.
        begin: First token of the tile.
        tile: (width, D) of the weight.
        bias: (width,) or None.
        hidden: (block_rows, D).
        targets: (block_rows,) index in the tile, if it is in there.
    """

    block: Any
    part: Any
    begin: Any
    tile: Array
    bias: Array
    hidden: Array
    targets: Array


def unit_at(work: Work, start: Any, number: Any, tiles: int, width: int) -> Unit:
    """Unit `number` of the strip of `tiles` tiles that starts at the token `start`."""
    block, part = number // tiles, number % tiles
    begin = start + part * width
    tile = restored(lax.dynamic_slice_in_dim(work.head.weight, begin, width), work.head.dtype)
    bias = None if work.head.bias is None else lax.dynamic_slice_in_dim(work.head.bias, begin, width)
    hidden = restored(work.rows.hidden[block], work.head.dtype)
    return Unit(block, part, begin, tile, bias, hidden, work.rows.targets[block] - begin)


def gather_rows(
    hidden: Array, targets: Array, active: Array, settings: Settings, plan: Plan, first: Array, vocabulary: int
) -> Rows:
    """Rows that take part first, in blocks; what the others hold, and those that are not active, is not looked at."""
    valid = targets != settings.ignore_index
    count, total = jnp.sum(valid), plan.blocks * plan.block_rows
    place = jnp.where(valid, jnp.cumsum(valid), count + jnp.cumsum(~valid)) - 1
    order = (
        varying(jnp.zeros(total, jnp.int32), mapped_axes(targets))
        .at[place]
        .set(jnp.arange(targets.shape[0], dtype=jnp.int32), unique_indices=True)
    )
    takes_part, given = jnp.arange(total) < count, targets[order]
    active = takes_part & active[order]
    blocks = (plan.blocks, plan.block_rows)
    return Rows(
        jnp.where(active[:, None], stored(hidden)[order], 0).reshape(*blocks, -1),
        jnp.where(takes_part, given - first, -1).astype(jnp.int32).reshape(blocks),
        order,
        place,
        takes_part,
        active,
        takes_part & ((given < 0) | (given >= vocabulary)),
    )
