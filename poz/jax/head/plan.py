"""How `linear_logps` cuts a call into matrix products: from shapes and dtypes alone, so it is known while tracing."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from poz._memory import text_of


class Plan(NamedTuple):
    """What a call does.

    The vocabulary is walked in `strips` of `tiles` tiles of `tile` tokens each, and one narrower tile at the end; the
    rows in `blocks` of `block_rows`. A unit is one block times one tile, and a strip has `tiles * blocks` of them.

    Attributes:
        mode: "forward" (nothing kept), "keep", "recompute", "part" (some logits kept, the rest made again), or
            "one pass" (the head needs no gradient).
        block_rows: Rows of one unit.
        blocks: Blocks of rows.
        row_steps: How many rows of a block may be computed; the smallest that covers its valid rows is taken.
        tile: Vocabulary of one unit.
        tiles: Tiles of a strip.
        strips: Strips.
        rest: Vocabulary after the last strip.
        lodged: Units of each strip whose logits wait in the buffer of the head's own gradient.
        kept: Units of each strip whose logits are kept beside it.
        workspace: Bytes in use while a pass runs.
        held: Bytes held from the forward to the backward pass, beyond `workspace` and outputs.
        reason: Why, in a sentence.
    """

    mode: str
    block_rows: int
    blocks: int
    row_steps: tuple[int, ...]
    tile: int
    tiles: int
    strips: int
    rest: int
    lodged: int
    kept: int
    workspace: int
    held: int
    reason: str


class Shape(NamedTuple):
    """What a plan is made from: sizes, dtypes (`head_dtype` that of the head's summed gradient), what needs a gradient.

    `bias_alone` says that of the head only the bias does, so that no buffer for the weight's is there for logits to wait in.
    """

    rows: int
    hidden: int
    vocabulary: int
    dtype: Any
    head_dtype: Any
    hidden_gradient: bool
    head_gradient: bool
    outputs: tuple[str, ...]
    bias_alone: bool = False


class Grain(NamedTuple):
    """Sizes that suit a platform: on a CPU a unit fits the cache, on an accelerator it fills the machine.

    Attributes:
        rows: Of a block, about.
        tile: Vocabulary of a unit, about.
        multiple: That both are made multiples of.
        share: Of the plain formula's peak memory, gradients included, beyond which no logits are kept.
    """

    rows: int
    tile: int
    multiple: int
    share: float


# On a CPU, fetching fresh memory costs a good part of the product that it saves.
CPU = Grain(rows=1024, tile=1024, multiple=8, share=0.25)
ACCELERATOR = Grain(rows=4096, tile=4096, multiple=128, share=1)


def on_cpu() -> bool:
    """Whether the default backend is the CPU."""
    return bool(jax.default_backend() == "cpu")


def wide(dtype: Any) -> Any:
    """The dtype that logits, sums and log-probs have: float64 for float64, else float32."""
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)


def storage(dtype: Any) -> Any:
    """The dtype in which numbers are kept and cut.

    XLA has no 16-bit arithmetic on a CPU and widens whole arrays of such numbers even to cut a slice, so there they are
    kept as bits.
    """
    return jnp.dtype(jnp.uint16) if on_cpu() and jnp.dtype(dtype).itemsize == 2 else jnp.dtype(dtype)


def rounded_up(size: int, multiple: int) -> int:
    """The next multiple."""
    return -(-size // multiple) * multiple


def strip_sizes(vocabulary: int, hidden: int, grain: Grain) -> tuple[int, int, int, int]:
    """Width of a tile, tiles in a strip, strips, and what is left: of the head's shape alone, never of the memory."""
    tiles = 8 if hidden < grain.rows else 1
    strips = round(vocabulary / (tiles * grain.tile))
    if strips == 0:
        tiles, strips = 1, max(1, round(vocabulary / grain.tile))
    tile = vocabulary // (tiles * strips)
    if tiles * strips > 1 and tile > grain.multiple:
        tile = tile // grain.multiple * grain.multiple
    return tile, tiles, strips, vocabulary - tile * tiles * strips


def make_plan(shape: Shape, limit: int) -> Plan:
    """The plan for a call.

    Raises:
        ValueError: The memory is less than the smallest that works.
    """
    grain = CPU if on_cpu() else ACCELERATOR
    tile, tiles, strips, rest = strip_sizes(shape.vocabulary, shape.hidden, grain)
    item = wide(shape.dtype).itemsize
    gradient = shape.hidden_gradient or shape.head_gradient
    one_pass = gradient and not shape.head_gradient and shape.outputs == ("logps",)

    # Nor do the blocks depend on the memory: the shape of a product may change the last bit of its results.
    blocks = max(1, round(shape.rows / grain.rows))
    block_rows = rounded_up(max(1, -(-shape.rows // blocks)), 8)
    rows, width = blocks * block_rows, max(tile, rest)
    strip = width * shape.hidden
    needed = rows * shape.hidden * shape.dtype.itemsize + 40 * rows * item  # rows in order, and numbers for each
    needed += (3 if gradient else 2) * width * block_rows * item
    needed += 2 * strip * shape.dtype.itemsize
    if shape.dtype.itemsize < item:
        needed += (strip + block_rows * shape.hidden) * item
        if storage(shape.dtype) != shape.dtype:  # the head's bits are a copy
            needed += shape.vocabulary * shape.hidden * shape.dtype.itemsize
    if shape.hidden_gradient:
        needed += ((1 if one_pass else 2) * rows + block_rows) * shape.hidden * item
    if shape.head_gradient:
        needed += (tiles + 2 if blocks > 1 else 2) * strip * item
    if needed > limit:
        raise ValueError(
            f"memory of {text_of(limit)} is too little for {shape.rows} rows and a head of {shape.vocabulary} tokens by "
            f"{shape.hidden}: the smallest that works is {text_of(needed)!r}."
        )

    units = tiles * blocks
    unit = strips * tile * block_rows * item
    lodged = kept = 0
    if not gradient:
        mode, reason = "forward", "Nothing needs a gradient, so nothing is kept."
    elif one_pass:
        mode, reason = "one pass", "The head needs no gradient: d logp / d hidden is made with the log-probs."
    else:
        numbered = shape.vocabulary * shape.hidden < 2**31  # by 32-bit integers
        if (
            shape.head_gradient
            and not shape.bias_alone
            and numbered
            and storage(shape.head_dtype) in (jnp.uint16, wide(shape.dtype))
        ):
            lodged = min(units, tiles * shape.hidden * shape.head_dtype.itemsize // (block_rows * item))
        gradients = (
            shape.vocabulary * shape.hidden * shape.head_dtype.itemsize * (shape.head_gradient and not shape.bias_alone)
        )
        plain = gradients + 3 * shape.rows * shape.vocabulary * item  # logits, their exponentials and their gradient
        room = min(limit, int(grain.share * plain) - gradients)
        kept = max(0, min(units - lodged, (room - needed) // unit))
        mode = "keep" if lodged + kept == units else "part" if lodged + kept else "recompute"
        reason = (
            f"Of {units * unit / 2**20:.0f} MiB of logits, {lodged / units:.0%} wait in the buffer of the head's gradient and "
            f"{kept / units:.0%} beside it; the rest is computed twice."
        )
    held = shape.rows * shape.hidden * item if one_pass else kept * unit
    steps: tuple[int, ...] = (block_rows,)
    if blocks < 4 and block_rows >= grain.rows // 2:
        steps = tuple(sorted({min(block_rows, rounded_up(block_rows * part // 4, 8)) for part in (1, 2, 3, 4)}))
    return Plan(mode, block_rows, blocks, steps, tile, tiles, strips, rest, lodged, kept, needed, held, reason)
