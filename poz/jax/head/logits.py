"""Products with the head, tile by tile.

Logits are (rows, tile): hidden @ tileᵀ forward and, with d logits in the place of the logits, d logitsᵀ @ hidden for the
head and d logits @ tile for the hidden states.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from poz.jax.head.plan import wide
from poz.jax.head.settings import Settings

Array = Any


def _product(a: Array, b: Array, contract: tuple[int, int], exact: bool) -> Array:
    dtype = wide(a.dtype)
    precision = lax.Precision.HIGHEST if exact and a.dtype.itemsize >= 4 else None
    dimensions = (((contract[0],), (contract[1],)), ((), ()))
    return lax.dot_general(a, b, dimensions, precision=precision, preferred_element_type=dtype)


def gradient_product(a: Array, b: Array, contract: tuple[int, int], narrow: bool, exact: bool) -> Array:
    """`a` times `b` over the dimensions of `contract`, with d logits among them."""
    # One of the two is 32 bit (d logits), the other as it was given.
    dtype = jnp.dtype(jnp.bfloat16) if narrow else wide(a.dtype)
    return _product(a.astype(dtype), b.astype(dtype), contract, exact)


def narrow_gradients(dtype: Any, exact: bool, cpu: bool) -> bool:
    """Whether d logits are rounded to bfloat16 before the products: where that doubles the speed of the whole step."""
    return bool(dtype == jnp.bfloat16) and not (exact and cpu)


def logits(tile: Array, bias: Array, hidden: Array, settings: Settings) -> Array:
    """Of rows and a tile, (rows, tile)."""
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


def slope_of(logits: Array, settings: Settings) -> Array:
    """d logit / d product, over scale / temperature, 0 where masked; None where that is 1."""
    if settings.softcap is None:
        return None
    return 1 - jnp.square(jnp.maximum(logits * (settings.temperature / settings.softcap), -1))
