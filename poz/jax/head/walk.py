"""The way over the vocabulary: strips, their units, and how many rows of a unit are computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import lax

from poz.jax.head.plan import Plan
from poz.jax.head.waiting import AGAIN, KEPT, LODGED

Array = Any


def walk(plan: Plan, strip: Callable[..., Any], carry: Any) -> Any:
    """`strip(carry, index, start, width, tiles)` over the vocabulary; the index is None in the narrower end."""
    span = plan.tile * plan.tiles
    if plan.strips == 1:
        carry = strip(carry, 0, 0, plan.tile, plan.tiles)
    else:
        carry, _ = lax.scan(
            lambda c, i: (strip(c, i, i * span, plan.tile, plan.tiles), None), carry, jnp.arange(plan.strips)
        )
    return strip(carry, None, plan.strips * span, plan.rest, 1) if plan.rest else carry


def units(plan: Plan, index: Any, tiles: int, unit: Callable[..., Any], carry: Any) -> Any:
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


def stepped(plan: Plan, active: Array, compute: Callable[[int], Callable[[Any], Any]], skip: Any, carry: Any) -> Any:
    """`compute(rows)(carry)` with the fewest rows that cover the active ones, or `skip(carry)` without any."""
    branch = (active > 0).astype(jnp.int32)
    for step in plan.row_steps[:-1]:
        branch += (active > step).astype(jnp.int32)
    return lax.switch(branch, [skip, *map(compute, plan.row_steps)], carry)


# Written with slices: a `.at[...]` is a scatter, which a CPU does one element at a time.
def overwritten(x: Array, new: Array) -> Array:
    """`x` with `new` in the place of its first entries."""
    return new if new.shape == x.shape else lax.dynamic_update_slice(x, new, (0,) * x.ndim)


def replaced(x: Array, new: Array, index: Any) -> Array:
    """`x` with `new` as its entry `index`."""
    return lax.dynamic_update_index_in_dim(x, new, index, 0)
