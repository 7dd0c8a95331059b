"""RLax: its clipped surrogate, of one row of steps."""

import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

from poz.families import Rollouts
from poz.peers._library import Library

library = Library("RLax", "rlax")


@library.loss(
    "ppo_clip", "clipped_surrogate_pg_loss", given="tokens one behind the other; those that the mask drops weigh 0 in its mean",
    constant=("old_logps",), backend="jax", reduction="mean",
)  # fmt: skip
def _ppo_clip() -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp

    with mock.patch.dict(
        sys.modules, {"distrax": mock.MagicMock()}
    ):  # whose TensorFlow Probability has no release for JAX 0.10
        import rlax

    def call(rollouts: Rollouts) -> Any:
        logps, old, mask = rollouts.logps, rollouts.old_logps, rollouts.mask
        mask = jnp.ones_like(logps, dtype=bool) if mask is None else mask
        old = jax.lax.stop_gradient(logps) if old is None else old
        ratios = jnp.exp(jnp.where(mask, logps - old, 0.0))
        advantages = jnp.where(mask, rollouts.advantages[:, None], 0.0)
        loss = rlax.clipped_surrogate_pg_loss(ratios.reshape(-1), advantages.reshape(-1), 0.2)
        return loss * mask.size / jnp.maximum(mask.sum(), 1)

    return call
