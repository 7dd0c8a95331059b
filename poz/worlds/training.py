"""Training by an objective, in JAX: all worlds, seeds and hyper-parameters at once, compiled once."""
# ruff: noqa: E402 - what is missing is said before anything fails

from __future__ import annotations

from typing import Any

from poz._extras import require

require("The training of worlds", "jax", "jax", "optax")

import jax
import jax.numpy as jnp
import numpy as np
import optax

from poz.algorithms import baseline, lcpo_em
from poz.objective import Objective
from poz.worlds.batches import batch
from poz.worlds.labels import Labels, Sentences
from poz.worlds.language import FEATURES, token_logps
from poz.zoo import zoo

ANNOTATORS = 4


def train(objective: Objective, labels: Labels, settings: dict[str, Any], steps: int) -> tuple[Any, Any]:
    """Where Adam arrives from the reference in `steps` steps, each on all labels.

    Args:
        objective: Of a family of `poz.worlds.batches`.
        labels: Each with leading (worlds, seeds).
        settings: (seeds, settings) of each hyper-parameter and of `learning_rate`.
        steps: How many.

    Returns:
        theta (worlds, seeds, settings, 2, FEATURES), and the state of those that have one, such as reliabilities
        (worlds, seeds, settings, annotators).
    """

    def run(these: Labels, values: dict[str, Any]) -> tuple[Any, Any]:
        rate = values["learning_rate"]
        params = {name: value for name, value in values.items() if name != "learning_rate"}
        adam = optax.scale_by_adam()
        theta = jnp.zeros((2, FEATURES), these.x.dtype)

        def step(carried: Any, _: Any) -> tuple[Any, None]:
            theta, moments, state = carried

            def loss(theta: Any) -> tuple[Any, Any]:
                def logps(some: Sentences) -> Any:
                    return token_logps(jnp, some.features, some.reference, some.tokens, theta, jax.lax.stop_gradient)

                losses, moved = _losses(objective, batch(jnp, objective, these, logps), params, state)
                return jnp.mean(losses), moved

            slope, moved = jax.grad(loss, has_aux=True)(theta)
            update, moments = adam.update(slope, moments)
            return (theta - rate * update, moments, moved), None

        (theta, _, state), _ = jax.lax.scan(step, (theta, adam.init(theta), _state(objective, these)), length=steps)
        return theta, state

    over_settings = jax.vmap(run, (None, 0))
    over_seeds = jax.vmap(over_settings, (0, 0))
    found: tuple[Any, Any] = jax.jit(jax.vmap(over_seeds, (0, None)))(*jax.tree.map(_single, (labels, settings)))
    return found


def _single(x: Any) -> Any:
    return jnp.asarray(x, jnp.float32 if np.issubdtype(np.asarray(x).dtype, np.floating) else None)


def _state(objective: Objective, labels: Labels) -> Any:
    like = labels.x
    if objective.name == "lcpo":
        return lcpo_em.init(ANNOTATORS, like=like)
    if objective.name == "bco":
        return baseline.init(like=like)
    return jnp.zeros((), like.dtype)


def _losses(objective: Objective, given: Any, params: dict[str, Any], state: Any) -> tuple[Any, Any]:
    """Losses, and the state after the batch."""
    if objective.name == "lcpo":
        base = zoo["dpo"].bind(**params)
        losses, found = lcpo_em.losses_and_sums(given, state.reliability, base=base)
        return losses, lcpo_em.update(state, found)
    if objective.name == "bco":
        moved = baseline.update(state, baseline.sums(given.logps, given.ref_logps, beta=params["beta"]))
        return objective(given, baseline=baseline.value(moved), **params), moved
    if objective.name == "beta_dpo":
        gap = jax.lax.stop_gradient(given.chosen - given.rejected - given.ref_chosen + given.ref_rejected)
        moved = 0.9 * state + 0.1 * jnp.mean(gap)  # as poz.algorithms.beta_dpo.update, in JAX
        return objective(given, mean_gap=moved, **params), moved
    return objective(given, **params), state
