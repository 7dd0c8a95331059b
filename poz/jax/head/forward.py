"""The pass over the vocabulary that makes the log-probs, and d logp / d hidden where the head needs no gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from poz.jax.head.logits import gradient_product, logits, slope_of
from poz.jax.head.mesh import varying
from poz.jax.head.plan import storage, wide
from poz.jax.head.rows import Unit, Work, restored, unit_at
from poz.jax.head.statistics import Running, Statistics, finish, finite
from poz.jax.head.waiting import AGAIN, KEPT, LODGED, Kept, lodge
from poz.jax.head.walk import overwritten, replaced, stepped, units, walk

Array = Any


def forward(work: Work) -> tuple[Statistics, Kept, Array]:
    """One pass over the vocabulary.

    Returns:
        Statistics; the kept logits; and in the mode "one pass" d logp / d hidden, (blocks * block_rows, D), else None.
    """
    settings, plan, rows, head = work.settings, work.plan, work.rows, work.head
    dtype, size = wide(head.dtype), rows.hidden.shape[-1]
    one_pass, entropy = plan.mode == "one pass", "entropy" in settings.outputs
    counts = jnp.sum(rows.takes_part.reshape(plan.blocks, -1), 1)
    shape = (plan.blocks, plan.block_rows)
    full = partial(jnp.full, shape, dtype=dtype)
    running = Running(full(-jnp.inf), full(0), full(-jnp.inf), full(0) if entropy else None)
    leaning = jnp.zeros((*shape, size), dtype) if one_pass else None
    lodged = jnp.zeros(head.weight.shape, storage(work.head_dtype)) if plan.lodged else None
    beside = jnp.zeros((plan.strips, plan.kept, plan.block_rows, plan.tile), dtype) if plan.kept else None

    def strip(carry: Any, index: Any, start: Any, width: int, tiles: int) -> Any:
        def unit(source: int, number: Any, carry: Any) -> Any:
            running, leaning, lodged, beside = carry
            at = unit_at(work, start, number, tiles, width)
            wanted = source != AGAIN

            def compute(count: int) -> Callable[[Any], Any]:
                def step(state: Any) -> Any:
                    before, lean = jax.tree.map(lambda x: x[:count], state)
                    z = logits(at.tile, at.bias, at.hidden[:count], settings)
                    after, lean = _accumulate(before, lean, z, at, work)
                    state = jax.tree.map(overwritten, state, (after, lean))
                    return state, jnp.pad(z, ((0, plan.block_rows - count), (0, 0))) if wanted else None

                return step

            def skip(state: Any) -> Any:
                return state, varying(jnp.zeros((plan.block_rows, width), dtype), work.axes) if wanted else None

            state = jax.tree.map(lambda x: x[at.block], (running, leaning))
            state, z = stepped(plan, counts[at.block], compute, skip, state)
            running, leaning = jax.tree.map(lambda old, new: replaced(old, new, at.block), (running, leaning), state)
            if source == LODGED:
                lodged = lodge(lodged, z, start * size, number * (width * plan.block_rows))
            if source == KEPT:
                beside = lax.dynamic_update_slice(beside, z[None, None], (index, number - plan.lodged, 0, 0))
            return running, leaning, lodged, beside

        return units(plan, index, tiles, unit, carry)

    carry = jax.tree.map(lambda x: varying(x, work.axes), (running, leaning, lodged, beside))
    running, leaning, lodged, beside = walk(plan, strip, carry)
    statistics, share = finish(running, rows, settings)
    slopes = _slopes(leaning, share, statistics, work) if one_pass else None
    return statistics, Kept(lodged, beside), slopes


def _accumulate(before: Running, lean: Array, z: Array, at: Unit, work: Work) -> tuple[Running, Array]:
    """What is known of the rows, and the weights summed up for d logp / d hidden, after their logits `z` of one tile."""
    shift, others, target, tilt = before
    targets = at.targets[: z.shape[0]]
    hit = lax.broadcasted_iota(jnp.int32, z.shape, 1) == targets[:, None]
    new_shift = jnp.maximum(shift, jnp.max(z, 1))
    base = finite(new_shift)
    weights = jnp.where(hit, 0, jnp.exp(z - base[:, None]))
    fade = jnp.exp(shift - base)
    found = (targets >= 0) & (targets < z.shape[1])
    at_target = jnp.take_along_axis(z, jnp.clip(targets, 0, z.shape[1] - 1)[:, None], 1)[:, 0]
    if tilt is not None:
        moved = jnp.where(others > 0, (shift - base) * others, 0)
        tilt = fade * (tilt + moved) + jnp.sum(jnp.where(weights > 0, weights * (z - base[:, None]), 0), 1)
    if lean is not None:
        slope = slope_of(z, work.settings)
        pulls = weights if slope is None else weights * slope
        lean = lean * fade[:, None] + gradient_product(pulls, at.tile, (1, 0), work.narrow, work.settings.exact)
    return Running(new_shift, others * fade + jnp.sum(weights, 1), jnp.where(found, at_target, target), tilt), lean


def _slopes(leaning: Array, share: Array, statistics: Statistics, work: Work) -> Array:
    """d logp / d hidden, (rows, D): (1 - p_t) w_t minus the mean of the other tokens' weights."""
    settings, rows, head = work.settings, work.rows, work.head
    pull = leaning.reshape(-1, leaning.shape[-1]) * share[:, None]
    targets = rows.targets.reshape(-1)
    tokens = head.weight.shape[0]
    coefficient = -jnp.expm1(statistics.logp) * jnp.where((targets >= 0) & (targets < tokens), 1, 0)
    slope = slope_of(statistics.target, settings)
    coefficient = coefficient if slope is None else coefficient * slope
    own = restored(head.weight[jnp.clip(targets, 0, tokens - 1)], head.dtype).astype(pull.dtype)
    slopes = (coefficient[:, None] * own - pull) * (settings.scale / settings.temperature)
    slopes = jnp.where(rows.takes_part[:, None], slopes, 0)
    return slopes if settings.axis is None else lax.psum(slopes, settings.axis)
