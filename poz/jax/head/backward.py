"""The pass over the vocabulary that makes gradients from upstream ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from poz.jax.head.logits import gradient_product, logits
from poz.jax.head.mesh import varying
from poz.jax.head.plan import storage, wide
from poz.jax.head.rows import Unit, Work, restored, stored, unit_at
from poz.jax.head.slopes import coefficients, d_logits
from poz.jax.head.statistics import Statistics
from poz.jax.head.waiting import KEPT, LODGED, Kept, lodging
from poz.jax.head.walk import overwritten, replaced, stepped, units, walk

Array = Any
OfHead = tuple[Array, Array]  # something of the weight and of the bias, each None where it needs no gradient


@jax.tree_util.register_static
@dataclass(frozen=True)
class Wants:
    """Which arrays need a gradient."""

    hidden: bool
    weight: bool
    bias: bool

    @property
    def head(self) -> bool:
        """Whether any part of it does."""
        return self.weight or self.bias


def backward(
    work: Work, statistics: Statistics, kept: Kept, upstream: dict[str, Array], wants: Wants
) -> tuple[Array, Array, Array]:
    """Gradients from upstream ones, (blocks * block_rows,) each and 0 where nothing takes part.

    A row whose upstream gradients are all 0 adds nothing, whatever is in it, and is left out of the products where it can be.

    Returns:
        Of hidden, (blocks * block_rows, D); of weight, (V, D) in `head_dtype`; of bias, (V,); None where `wants` says so.
    """
    settings, plan, head = work.settings, work.plan, work.head
    dtype, size = wide(head.dtype), work.rows.hidden.shape[-1]
    shape = (plan.blocks, plan.block_rows)
    blocked = partial(jnp.reshape, shape=shape)
    terms = {name: blocked(x) for name, x in coefficients(statistics, work.rows.active, upstream, settings).items()}
    shift = blocked(statistics.shift)
    numbers = jnp.arange(1, plan.block_rows + 1)
    counts = jnp.max(jnp.where(terms["active"], numbers, 0), 1)
    hidden_gradient = jnp.zeros((*shape, size), dtype) if wants.hidden else None
    buffers = _buffers(work, kept, wants)

    # With one block of rows, a tile's gradient is one product and goes where it belongs at once: the logits lodged for the
    # tiles after it lie further on, as a row of the head's gradient takes no more room than a tile's logits for one token.
    at_once = plan.blocks == 1 and plan.block_rows * dtype.itemsize >= size * work.head_dtype.itemsize

    def strip(carry: Any, index: Any, start: Any, width: int, tiles: int) -> Any:
        def unit(source: int, number: Any, carry: Any) -> Any:
            of_hidden, of_head, buffers = carry
            at = unit_at(work, start, number, tiles, width)
            block_terms, block_shift = {name: x[at.block] for name, x in terms.items()}, shift[at.block]

            def compute(count: int) -> Callable[[Any], Any]:
                def step(state: Any) -> Any:
                    if source == LODGED:
                        before = number * (width * plan.block_rows)
                        z = lodging(buffers[0], start * size, before, (plan.block_rows, width), dtype)[:count]
                    elif source == KEPT:
                        sizes = (1, 1, plan.block_rows, width)
                        z = lax.dynamic_slice(kept.beside, (index, number - plan.lodged, 0, 0), sizes)[0, 0, :count]
                    else:
                        z = logits(at.tile, at.bias, at.hidden[:count], settings)
                    cut = {name: x[:count] for name, x in block_terms.items()}
                    d = d_logits(z, at.targets[:count], block_shift[:count], cut, settings)
                    of_hidden, of_head = state
                    if wants.hidden:
                        more = gradient_product(d, at.tile, (1, 0), work.narrow, settings.exact)
                        of_hidden = overwritten(of_hidden, of_hidden[:count] + more)
                    more_head = _of_head(d, at, work, wants)
                    return of_hidden, more_head if at_once else jax.tree.map(jnp.add, of_head, more_head)

                return step

            def skip(state: Any) -> Any:
                return state[0], jax.tree.map(lambda x: x[0], _zeros(1, width, work, wants)) if at_once else state[1]

            old = None if of_hidden is None else of_hidden[at.block], jax.tree.map(lambda x: x[at.part], of_head)
            after, more_head = stepped(plan, counts[at.block], compute, skip, old)
            of_hidden = None if of_hidden is None else replaced(of_hidden, after, at.block)
            if at_once:
                buffers = _written(buffers, more_head, at.begin, work)
            else:
                of_head = jax.tree.map(lambda x, new: replaced(x, new, at.part), of_head, more_head)
            return of_hidden, of_head, buffers

        of_hidden, buffers = carry
        of_head = (None, None) if at_once else _zeros(tiles, width, work, wants)
        of_hidden, of_head, buffers = units(plan, index, tiles, unit, (of_hidden, of_head, buffers))
        return of_hidden, buffers if at_once else _written(buffers, of_head, start, work)

    carry = jax.tree.map(lambda x: varying(x, work.axes), (hidden_gradient, buffers))
    hidden_gradient, (weight_gradient, bias_gradient) = walk(plan, strip, carry)
    if wants.weight:
        weight_gradient = restored(weight_gradient, work.head_dtype)
    if wants.hidden:
        hidden_gradient = hidden_gradient.reshape(-1, size)
    return hidden_gradient, weight_gradient, bias_gradient


def _buffers(work: Work, kept: Kept, wants: Wants) -> OfHead:
    """Where the head's gradient is written: for the weight where its logits are lodged, if any are."""
    weight, shape = None, work.head.weight.shape
    if wants.weight:
        blank = jnp.zeros(shape, storage(work.head_dtype))
        weight = blank if kept.lodged is None else kept.lodged
    return weight, jnp.zeros(shape[:1], wide(work.head.dtype)) if wants.bias else None


def _zeros(tiles: int, width: int, work: Work, wants: Wants) -> OfHead:
    """Sums for that many tiles."""
    dtype, size = wide(work.head.dtype), work.rows.hidden.shape[-1]
    return (
        varying(jnp.zeros((tiles, width, size), dtype), work.axes) if wants.weight else None,
        varying(jnp.zeros((tiles, width), dtype), work.axes) if wants.bias else None,
    )


def _of_head(d: Array, at: Unit, work: Work, wants: Wants) -> OfHead:
    """What d logits of rows and a tile add to the tile's gradient."""
    weight = None
    if wants.weight:
        weight = gradient_product(d, at.hidden[: d.shape[0]], (0, 0), work.narrow, work.settings.exact)
    return weight, jnp.sum(d, 0) if wants.bias else None


def _written(buffers: OfHead, gradients: OfHead, start: Any, work: Work) -> OfHead:
    """The buffers with the gradients of the tokens from `start` on."""

    def place(buffer: Array, gradient: Array, dtype: Any) -> Array:
        if buffer is None:
            return None
        done = stored(gradient.reshape(-1, *buffer.shape[1:]).astype(dtype))
        return lax.dynamic_update_slice_in_dim(buffer, done, start, 0)

    dtypes = work.head_dtype, wide(work.head.dtype)
    weight, bias = map(place, buffers, gradients, dtypes)
    return weight, bias
