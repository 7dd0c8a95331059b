"""What is known of each row's distribution: while the vocabulary is walked, and after it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from poz.jax.head.rows import Rows
from poz.jax.head.settings import Settings

Array = Any


class Running(NamedTuple):
    """Of the tokens seen so far, each (blocks, block_rows).

    Attributes:
        shift: Largest logit.
        others: Sum of exp(logit - shift), without the target.
        target: The target's logit; -inf before it is seen.
        tilt: The sum weighted by logit - shift; None if no entropy is asked for.
    """

    shift: Array
    others: Array
    target: Array
    tilt: Array


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

    def outputs(self, names: tuple[str, ...]) -> dict[str, Array]:
        """The results that are asked for, by name."""
        found = {"logps": self.logp, "entropy": self.entropy}
        return found | {"lse": self.shift + jnp.log(self.total)} if "lse" in names else found


def finite(shift: Array) -> Array:
    """What logits can be compared with where all are -inf."""
    return jnp.where(shift == -jnp.inf, 0, shift)


def finish(running: Running, rows: Rows, settings: Settings) -> tuple[Statistics, Array]:
    """Statistics over all shards, and what this shard's sums are to be multiplied by to be shares of the total."""
    shift, others, target, tilt = jax.tree.map(lambda x: x.reshape(-1), running)
    fade = jnp.ones_like(shift)
    if settings.axis is not None:
        local, shift = shift, lax.pmax(shift, settings.axis)
        fade = jnp.exp(local - finite(shift))
        if tilt is not None:
            moved = jnp.where(others > 0, (local - finite(shift)) * others, 0)
            tilt = lax.psum(fade * (tilt + moved), settings.axis)
        others, target = lax.psum(others * fade, settings.axis), lax.pmax(target, settings.axis)
    target = jnp.where(rows.unknown, jnp.nan, target)
    base = finite(shift)
    ahead = jnp.exp(target - base)
    logp = -jax.nn.softplus((base - target) + jnp.log(others))
    total = others + ahead
    entropy = None
    if tilt is not None:
        tilt = tilt + jnp.where(ahead > 0, ahead * (target - base), 0)
        entropy = jnp.log(total) - tilt / total
    return Statistics(base, total, target, logp, entropy), fade / total
