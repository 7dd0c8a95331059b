"""The passes over a head's vocabulary: log-sum-exp forward, gradients backward, tile by tile.

Logits are (rows, tile): hidden @ tileᵀ forward and, with d logits in the place of the logits, d logitsᵀ @ hidden for the
head and d logits @ tile for the hidden states.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from poz.jax._linear_plan import Plan, storage, wide

Array = Any
LODGED, KEPT, AGAIN = range(3)


class Settings(NamedTuple):
    """What a call is asked for, beyond its arrays.

    Attributes:
        ignore_index: Target of rows that take no part.
        scale: Multiplies the logits first.
        softcap: Bound on their size, or None.
        temperature: Divides them last.
        outputs: Names, in the order of the results.
        limit: Bytes that may be used.
        exact: Whether products of 32-bit numbers are in 32 bit everywhere, and d logits in 32 bit on a CPU.
        axis: Mesh axis over which the vocabulary is sharded, or None.
    """

    ignore_index: int
    scale: float
    softcap: float | None
    temperature: float
    outputs: tuple[str, ...]
    limit: int
    exact: bool
    axis: str | None


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


class Statistics(NamedTuple):
    """What is known of each row's distribution after the forward pass, each (blocks * block_rows,).

    Attributes:
        shift: Largest logit.
        total: Sum of exp(logit - shift).
        target: Logit of the target.
        logp: Log-probability of the target, nats.
        entropy: Of the distribution, nats; None if not asked for.
    """

    shift: Array
    total: Array
    target: Array
    logp: Array
    entropy: Array


class Kept(NamedTuple):
    """Logits kept for the backward pass.

    Attributes:
        lodged: (V, D), `stored`, the buffer that becomes the head's gradient; until a strip's gradient is written, its logits are
            in the strip's part of it. None where none are lodged.
        beside: (strips, units, block_rows, tile), or None.
    """

    lodged: Array
    beside: Array


def mapped_axes(*arrays: Array) -> frozenset[str]:
    """Mesh axes over which any of the arrays differs between devices."""
    return frozenset().union(*map(_axes_of, (x for x in arrays if x is not None)))


def _axes_of(x: Array) -> frozenset[str]:
    of_type = jax.typeof(x)
    return frozenset(of_type.vma if hasattr(of_type, "vma") else of_type.mat.varying)


def varying(x: Array, axes: frozenset[str]) -> Array:
    """The same values, said to differ over `axes`."""
    missing = tuple(sorted(axes - _axes_of(x))) if x is not None else ()
    return lax.pcast(x, missing, to="varying") if missing else x


def summed_like(x: Array, axes: frozenset[str]) -> Array:
    """The sum over devices that leaves differences over `axes` only."""
    over = tuple(sorted(_axes_of(x) - axes))
    return lax.psum(x, over) if over else x


def stored(x: Array) -> Array:
    """The array in its `storage`."""
    return lax.bitcast_convert_type(x, storage(x.dtype)) if storage(x.dtype) != x.dtype else x


def restored(x: Array, dtype: Any) -> Array:
    """The array out of its `storage`."""
    return x if x.dtype == dtype else lax.bitcast_convert_type(lax.optimization_barrier(x), dtype)


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


def _product(a: Array, b: Array, contract: tuple[int, int], exact: bool) -> Array:
    dtype = wide(a.dtype)
    precision = lax.Precision.HIGHEST if exact and a.dtype.itemsize >= 4 else None
    dimensions = (((contract[0],), (contract[1],)), ((), ()))
    return lax.dot_general(a, b, dimensions, precision=precision, preferred_element_type=dtype)


def _gradient_product(a: Array, b: Array, contract: tuple[int, int], narrow: bool, exact: bool) -> Array:
    # One of the two is 32 bit (d logits), the other as it was given.
    dtype = jnp.dtype(jnp.bfloat16) if narrow else wide(a.dtype)
    return _product(a.astype(dtype), b.astype(dtype), contract, exact)


def narrow_gradients(dtype: Any, exact: bool, cpu: bool) -> bool:
    """Whether d logits are rounded to bfloat16 before the products: where that doubles the speed of the whole step."""
    return bool(dtype == jnp.bfloat16) and not (exact and cpu)


def _logits(tile: Array, bias: Array, hidden: Array, settings: Settings) -> Array:
    x = _product(hidden, tile, (1, 1), settings.exact)
    if bias is not None:
        x = x + bias.astype(x.dtype)
    if settings.scale != 1:
        x = x * settings.scale
    if settings.softcap is not None:
        x = settings.softcap * jnp.tanh(x / settings.softcap)
    if settings.temperature != 1:
        x = x / settings.temperature
    if bias is not None and (settings.softcap is not None or settings.scale <= 0):  # else -inf has stayed what it was
        x = jnp.where(bias == -jnp.inf, -jnp.inf, x)
    return x


def _slope(logits: Array, settings: Settings) -> Array:
    """d logit / d product, over scale / temperature, 0 where masked; None where that is 1."""
    if settings.softcap is None:
        return None
    return 1 - jnp.square(jnp.maximum(logits * (settings.temperature / settings.softcap), -1))


def _finite(shift: Array) -> Array:
    return jnp.where(shift == -jnp.inf, 0, shift)


def _tile(head: Head, begin: Any, width: int) -> tuple[Array, Array]:
    tile = restored(lax.dynamic_slice_in_dim(head.weight, begin, width), head.dtype)
    return tile, None if head.bias is None else lax.dynamic_slice_in_dim(head.bias, begin, width)


def _lodge(buffer: Array, logits: Array, start: Any, before: Any) -> Array:
    """The buffer with logits in the strip that starts at element `start` of it, after `before` other logits."""
    flat = logits.reshape(-1)
    if buffer.dtype.itemsize != flat.dtype.itemsize:
        flat, before = lax.bitcast_convert_type(flat, buffer.dtype).reshape(-1), 2 * before
    return lax.dynamic_update_slice(buffer.reshape(-1), flat, (start + before,)).reshape(buffer.shape)


def _lodging(buffer: Array, start: Any, before: Any, shape: tuple[int, int], dtype: Any) -> Array:
    """Logits from there."""
    count = shape[0] * shape[1]
    if buffer.dtype.itemsize == dtype.itemsize:
        return lax.dynamic_slice_in_dim(buffer.reshape(-1), start + before, count).reshape(shape)
    halves = lax.dynamic_slice_in_dim(buffer.reshape(-1), start + 2 * before, 2 * count)
    return lax.bitcast_convert_type(halves.reshape(*shape, 2), dtype)


# Written with slices: a `.at[...]` is a scatter, which a CPU does one element at a time.
def _overwritten(x: Array, new: Array) -> Array:
    """`x` with `new` in the place of its first entries."""
    return new if new.shape == x.shape else lax.dynamic_update_slice(x, new, (0,) * x.ndim)


def _replaced(x: Array, new: Array, index: Any) -> Array:
    return lax.dynamic_update_index_in_dim(x, new, index, 0)


def _walk(plan: Plan, strip: Callable[..., Any], carry: Any) -> Any:
    """`strip(carry, index, start, width, tiles)` over the vocabulary; the index is None in the narrower end."""
    span = plan.tile * plan.tiles
    if plan.strips == 1:
        carry = strip(carry, 0, 0, plan.tile, plan.tiles)
    else:
        carry, _ = lax.scan(
            lambda c, i: (strip(c, i, i * span, plan.tile, plan.tiles), None), carry, jnp.arange(plan.strips)
        )
    return strip(carry, None, plan.strips * span, plan.rest, 1) if plan.rest else carry


def _units(plan: Plan, index: Any, tiles: int, unit: Callable[..., Any], carry: Any) -> Any:
    """`unit(source, number, carry)` over one strip, where `source` says what becomes of the logits."""
    total = tiles * plan.blocks
    ends = (0, 0, total) if index is None else (plan.lodged, plan.lodged + plan.kept, total)
    start = 0
    for source, stop in zip((LODGED, KEPT, AGAIN), ends, strict=True):
        if stop - start == 1:
            carry = unit(source, start, carry)
        elif stop > start:
            carry = lax.fori_loop(start, stop, partial(unit, source), carry)
        start = stop
    return carry


def _stepped(plan: Plan, active: Array, compute: Callable[[int], Callable[[Any], Any]], skip: Any, carry: Any) -> Any:
    """`compute(rows)(carry)` with the fewest rows that cover the active ones, or `skip(carry)` without any."""
    branch = (active > 0).astype(jnp.int32)
    for step in plan.row_steps[:-1]:
        branch += (active > step).astype(jnp.int32)
    return lax.switch(branch, [skip, *map(compute, plan.row_steps)], carry)


def forward(
    head: Head, rows: Rows, settings: Settings, plan: Plan, narrow: bool, axes: frozenset[str], head_dtype: Any
) -> tuple[Statistics, Kept, Array]:
    """One pass over the vocabulary.

    Returns:
        Statistics; the kept logits; and in the mode "one pass" d logp / d hidden, (blocks * block_rows, D), else None.
    """
    dtype, size = wide(head.dtype), rows.hidden.shape[-1]
    one_pass, entropy = plan.mode == "one pass", "entropy" in settings.outputs
    counts = jnp.sum(rows.takes_part.reshape(plan.blocks, -1), 1)
    shape = (plan.blocks, plan.block_rows)
    full = partial(jnp.full, shape, dtype=dtype)
    # Running maximum; sum of exp(logit - maximum) without the target; the target's logit; the sum weighted by logit - maximum.
    running = (full(-jnp.inf), full(0), full(-jnp.inf), full(0) if entropy else None)
    leaning = jnp.zeros((*shape, size), dtype) if one_pass else None
    lodged = jnp.zeros(head.weight.shape, storage(head_dtype)) if plan.lodged else None
    beside = jnp.zeros((plan.strips, plan.kept, plan.block_rows, plan.tile), dtype) if plan.kept else None

    def strip(carry: Any, index: Any, start: Any, width: int, tiles: int) -> Any:
        def unit(source: int, number: Any, carry: Any) -> Any:
            running, leaning, lodged, beside = carry
            block, begin = number // tiles, start + number % tiles * width
            tile, bias = _tile(head, begin, width)
            block_hidden = restored(rows.hidden[block], head.dtype)
            targets = rows.targets[block] - begin
            wanted = source != AGAIN

            def compute(count: int) -> Callable[[Any], Any]:
                def step(state: Any) -> Any:
                    before, lean = jax.tree.map(lambda x: x[:count], state)
                    z = _logits(tile, bias, block_hidden[:count], settings)
                    after, lean = _accumulate(before, lean, z, targets[:count], tile, settings, narrow)
                    state = jax.tree.map(_overwritten, state, (after, lean))
                    return state, jnp.pad(z, ((0, plan.block_rows - count), (0, 0))) if wanted else None

                return step

            def skip(state: Any) -> Any:
                return state, varying(jnp.zeros((plan.block_rows, width), dtype), axes) if wanted else None

            state = jax.tree.map(lambda x: x[block], (running, leaning))
            state, z = _stepped(plan, counts[block], compute, skip, state)
            running, leaning = jax.tree.map(lambda old, new: _replaced(old, new, block), (running, leaning), state)
            if source == LODGED:
                lodged = _lodge(lodged, z, start * size, number * (width * plan.block_rows))
            if source == KEPT:
                beside = lax.dynamic_update_slice(beside, z[None, None], (index, number - plan.lodged, 0, 0))
            return running, leaning, lodged, beside

        return _units(plan, index, tiles, unit, carry)

    carry = jax.tree.map(lambda x: varying(x, axes), (running, leaning, lodged, beside))
    running, leaning, lodged, beside = _walk(plan, strip, carry)
    statistics, share = _finish(running, head, rows, settings)
    slopes = _slopes(leaning, share, statistics, head, rows, settings) if one_pass else None
    return statistics, Kept(lodged, beside), slopes


def _accumulate(
    before: Any, lean: Array, z: Array, targets: Array, tile: Array, settings: Settings, narrow: bool
) -> tuple[Any, Array]:
    shift, others, target, tilt = before
    hit = lax.broadcasted_iota(jnp.int32, z.shape, 1) == targets[:, None]
    new_shift = jnp.maximum(shift, jnp.max(z, 1))
    base = _finite(new_shift)
    weights = jnp.where(hit, 0, jnp.exp(z - base[:, None]))
    fade = jnp.exp(shift - base)
    found = (targets >= 0) & (targets < z.shape[1])
    at_target = jnp.take_along_axis(z, jnp.clip(targets, 0, z.shape[1] - 1)[:, None], 1)[:, 0]
    if tilt is not None:
        moved = jnp.where(others > 0, (shift - base) * others, 0)
        tilt = fade * (tilt + moved) + jnp.sum(jnp.where(weights > 0, weights * (z - base[:, None]), 0), 1)
    if lean is not None:
        slope = _slope(z, settings)
        pulls = weights if slope is None else weights * slope
        lean = lean * fade[:, None] + _gradient_product(pulls, tile, (1, 0), narrow, settings.exact)
    return (new_shift, others * fade + jnp.sum(weights, 1), jnp.where(found, at_target, target), tilt), lean


def _finish(running: Any, head: Head, rows: Rows, settings: Settings) -> tuple[Statistics, Array]:
    """Statistics over all shards, and what this shard's sums are to be multiplied by to be shares of the total."""
    shift, others, target, tilt = jax.tree.map(lambda x: x.reshape(-1), running)
    fade = jnp.ones_like(shift)
    if settings.axis is not None:
        local, shift = shift, lax.pmax(shift, settings.axis)
        fade = jnp.exp(local - _finite(shift))
        if tilt is not None:
            moved = jnp.where(others > 0, (local - _finite(shift)) * others, 0)
            tilt = lax.psum(fade * (tilt + moved), settings.axis)
        others, target = lax.psum(others * fade, settings.axis), lax.pmax(target, settings.axis)
    target = jnp.where(rows.unknown, jnp.nan, target)
    base = _finite(shift)
    ahead = jnp.exp(target - base)
    logp = -jax.nn.softplus((base - target) + jnp.log(others))
    total = others + ahead
    entropy = None
    if tilt is not None:
        tilt = tilt + jnp.where(ahead > 0, ahead * (target - base), 0)
        entropy = jnp.log(total) - tilt / total
    return Statistics(base, total, target, logp, entropy), fade / total


def _slopes(leaning: Array, share: Array, statistics: Statistics, head: Head, rows: Rows, settings: Settings) -> Array:
    """d logp / d hidden, (rows, D): (1 - p_t) w_t minus the mean of the other tokens' weights."""
    pull = leaning.reshape(-1, leaning.shape[-1]) * share[:, None]
    targets = rows.targets.reshape(-1)
    tokens = head.weight.shape[0]
    coefficient = -jnp.expm1(statistics.logp) * jnp.where((targets >= 0) & (targets < tokens), 1, 0)
    slope = _slope(statistics.target, settings)
    coefficient = coefficient if slope is None else coefficient * slope
    own = restored(head.weight[jnp.clip(targets, 0, tokens - 1)], head.dtype).astype(pull.dtype)
    slopes = (coefficient[:, None] * own - pull) * (settings.scale / settings.temperature)
    slopes = jnp.where(rows.takes_part[:, None], slopes, 0)
    return slopes if settings.axis is None else lax.psum(slopes, settings.axis)


def backward(
    head: Head, rows: Rows, statistics: Statistics, kept: Kept, upstream: dict[str, Array], settings: Settings, plan: Plan,
    narrow: bool, axes: frozenset[str], wants: tuple[bool, bool, bool], head_dtype: Any,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Gradients from upstream ones, (blocks * block_rows,) each and 0 where nothing takes part.

    A row whose upstream gradients are all 0 adds nothing, whatever is in it, and is left out of the products where it can be.

    Returns:
        Of hidden, (blocks * block_rows, D); of weight, (V, D) in `head_dtype`; of bias, (V,); None where `wants` says so.
    """
    dtype, size = wide(head.dtype), rows.hidden.shape[-1]
    shape = (plan.blocks, plan.block_rows)
    blocked = partial(jnp.reshape, shape=shape)
    terms = {name: blocked(x) for name, x in _coefficients(statistics, rows.active, upstream, settings).items()}
    shift = blocked(statistics.shift)
    numbers = jnp.arange(1, plan.block_rows + 1)
    counts = jnp.max(jnp.where(terms["active"], numbers, 0), 1)
    hidden_gradient = jnp.zeros((*shape, size), dtype) if wants[0] else None
    weight_gradient = None
    if wants[1]:
        blank = jnp.zeros(head.weight.shape, storage(head_dtype))
        weight_gradient = blank if kept.lodged is None else kept.lodged
    bias_gradient = jnp.zeros(head.weight.shape[:1], dtype) if wants[2] else None

    # With one block of rows, a tile's gradient is one product and goes where it belongs at once: the logits lodged for the
    # tiles after it lie further on, as a row of the head's gradient takes no more room than a tile's logits for one token.
    at_once = plan.blocks == 1 and plan.block_rows * dtype.itemsize >= size * head_dtype.itemsize

    def strip(carry: Any, index: Any, start: Any, width: int, tiles: int) -> Any:
        def unit(source: int, number: Any, carry: Any) -> Any:
            of_hidden, of_head, buffers = carry
            block, part = number // tiles, number % tiles
            begin = start + part * width
            tile, bias = _tile(head, begin, width)
            block_hidden = restored(rows.hidden[block], head.dtype)
            targets = rows.targets[block] - begin
            block_terms, block_shift = {name: x[block] for name, x in terms.items()}, shift[block]

            def compute(count: int) -> Callable[[Any], Any]:
                def step(state: Any) -> Any:
                    if source == LODGED:
                        before = number * (width * plan.block_rows)
                        z = _lodging(buffers[0], start * size, before, (plan.block_rows, width), dtype)[:count]
                    elif source == KEPT:
                        sizes = (1, 1, plan.block_rows, width)
                        z = lax.dynamic_slice(kept.beside, (index, number - plan.lodged, 0, 0), sizes)[0, 0, :count]
                    else:
                        z = _logits(tile, bias, block_hidden[:count], settings)
                    cut = {name: x[:count] for name, x in block_terms.items()}
                    d = _d_logits(z, targets[:count], block_shift[:count], cut, settings)
                    of_hidden, of_head = state
                    if wants[0]:
                        more = _gradient_product(d, tile, (1, 0), narrow, settings.exact)
                        of_hidden = _overwritten(of_hidden, of_hidden[:count] + more)
                    more_head = (
                        _gradient_product(d, block_hidden[:count], (0, 0), narrow, settings.exact)
                        if wants[1]
                        else None,
                        jnp.sum(d, 0) if wants[2] else None,
                    )
                    return of_hidden, more_head if at_once else jax.tree.map(jnp.add, of_head, more_head)

                return step

            def skip(state: Any) -> Any:
                return state[0], jax.tree.map(lambda x: x[0], head_zeros(1, width)) if at_once else state[1]

            old = None if of_hidden is None else of_hidden[block], jax.tree.map(lambda x: x[part], of_head)
            after, more_head = _stepped(plan, counts[block], compute, skip, old)
            of_hidden = None if of_hidden is None else _replaced(of_hidden, after, block)
            if at_once:
                buffers = write(buffers, more_head, begin)
            else:
                of_head = jax.tree.map(lambda x, new: _replaced(x, new, part), of_head, more_head)
            return of_hidden, of_head, buffers

        of_hidden, buffers = carry
        of_head = (None, None) if at_once else head_zeros(tiles, width)
        of_hidden, of_head, buffers = _units(plan, index, tiles, unit, (of_hidden, of_head, buffers))
        return of_hidden, buffers if at_once else write(buffers, of_head, start)

    def head_zeros(tiles: int, width: int) -> tuple[Array, Array]:
        return (
            varying(jnp.zeros((tiles, width, size), dtype), axes) if wants[1] else None,
            varying(jnp.zeros((tiles, width), dtype), axes) if wants[2] else None,
        )

    def write(buffers: Any, gradients: Any, start: Any) -> Any:
        def place(buffer: Array, gradient: Array, dtype: Any) -> Array:
            done = stored(gradient.reshape(-1, *buffer.shape[1:]).astype(dtype))
            return lax.dynamic_update_slice_in_dim(buffer, done, start, 0)

        return tuple(
            None if buffer is None else place(buffer, gradient, of_dtype)
            for buffer, gradient, of_dtype in zip(buffers, gradients, (head_dtype, dtype), strict=True)
        )

    carry = jax.tree.map(lambda x: varying(x, axes), (hidden_gradient, (weight_gradient, bias_gradient)))
    hidden_gradient, (weight_gradient, bias_gradient) = _walk(plan, strip, carry)
    if wants[1]:
        weight_gradient = restored(weight_gradient, head_dtype)
    if wants[0]:
        hidden_gradient = hidden_gradient.reshape(-1, size)
    return hidden_gradient, weight_gradient, bias_gradient


def _coefficients(
    statistics: Statistics, active: Array, upstream: dict[str, Array], settings: Settings
) -> dict[str, Array]:
    """Per row: d loss / d product at the target (`target`), over exp(logit - shift) elsewhere (`other`), and for entropy
    what that changes by with each nat of the logit (`tilt`) from where (`level`); and `active`, without which `target` is 0."""  # noqa: D205, D209
    chain = settings.scale / settings.temperature
    logp, total = statistics.logp, statistics.total
    zero = jnp.zeros_like(logp)
    of_logp, of_lse = (upstream.get(name, zero) * chain for name in ("logps", "lse"))
    target = of_logp * -jnp.expm1(logp) + of_lse * jnp.exp(logp)
    terms = {"other": (of_lse - of_logp) / total}
    if "entropy" in upstream:
        of_entropy = upstream["entropy"] * chain
        level = jnp.log(total) - statistics.entropy
        away = jnp.where(statistics.target == -jnp.inf, 0, statistics.target - statistics.shift - level)
        target = target - of_entropy * jnp.exp(logp) * away
        terms |= {"tilt": of_entropy / total, "level": level}
    slope = _slope(statistics.target, settings)
    target = target if slope is None else target * slope
    return terms | {"target": jnp.where(active, target, 0), "active": active}


def _d_logits(z: Array, targets: Array, shift: Array, terms: dict[str, Array], settings: Settings) -> Array:
    hit = lax.broadcasted_iota(jnp.int32, z.shape, 1) == targets[:, None]
    away = z - shift[:, None]
    factor = terms["other"][:, None]
    if "tilt" in terms:
        factor = factor - terms["tilt"][:, None] * jnp.where(away == -jnp.inf, 0, away - terms["level"][:, None])
    d = jnp.exp(away) * factor
    slope = _slope(z, settings)
    d = d if slope is None else d * slope
    # One choice for both: the target's token, and rows that add nothing, whose kept logits may be NaN.
    return jnp.where(hit | ~terms["active"][:, None], terms["target"][:, None], d)
