"""d loss / d logits of a unit, from what is known of its rows and what is upstream of them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from poz.jax.head.logits import slope_of
from poz.jax.head.settings import Settings
from poz.jax.head.statistics import Statistics

Array = Any


def coefficients(
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
    slope = slope_of(statistics.target, settings)
    target = target if slope is None else target * slope
    return terms | {"target": jnp.where(active, target, 0), "active": active}


def d_logits(z: Array, targets: Array, shift: Array, terms: dict[str, Array], settings: Settings) -> Array:
    """From the logits `z` of rows and a tile, their `targets` in it, `shift`, and `coefficients`."""
    hit = lax.broadcasted_iota(jnp.int32, z.shape, 1) == targets[:, None]
    away = z - shift[:, None]
    factor = terms["other"][:, None]
    if "tilt" in terms:
        factor = factor - terms["tilt"][:, None] * jnp.where(away == -jnp.inf, 0, away - terms["level"][:, None])
    d = jnp.exp(away) * factor
    slope = slope_of(z, settings)
    d = d if slope is None else d * slope
    # One choice for both: the target's token, and rows that add nothing, whose kept logits may be NaN.
    return jnp.where(hit | ~terms["active"][:, None], terms["target"][:, None], d)
