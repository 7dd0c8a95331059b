"""A training step with flax NNX and optax, for any objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from poz._agreement import agreement
from poz._given import given
from poz.families import layout_of
from poz.objective import Objective
from poz.zoo import zoo

Array = Any
Step = Callable[[nnx.Module, Any, Any], Mapping[str, Array]]


@given
def train_step(objective: str | Objective, batch_of: Callable[[nnx.Module, Any], Any]) -> Step:
    """A compiled step: losses of the batch, their mean, its gradient, and one move of the optimiser.

        step = train_step(poz.simpo.bind(beta=2.0), lambda model, rows: pairs_of(model, rows))
        metrics = step(model, optimizer, rows)

    The mean is over all examples of the batch, whatever devices they are sharded over. Only the parameters that
    `optimizer.wrt` picks are differentiated, so a head that is not among them takes the single pass of
    `poz.jax.linear_logps`.

    Args:
        objective: A name, or an objective with its hyper-parameters bound.
        batch_of: (model, data) -> what the objective is given: `poz.Pairs`, `poz.TokenPairs`, `poz.Ranked`, or of a reward
            model `poz.RewardPairs`.

    Returns:
        (model, optimizer, data) -> metrics: `loss` in nats, and for pairs the model's mean `margin` (summed log-prob
        or score of chosen minus that of rejected, in nats) and `accuracy`, how often it has the sign of what is known to be
        better: of a `label` below 1/2 rejected is, ties and labels of 1/2 do not count, and factors are not looked at.
        Model and optimiser are updated in place.

    Raises:
        TypeError: Neither a name nor an objective.
        poz.UnknownObjective: No objective of that name.
    """
    spec = zoo[objective] if isinstance(objective, str) else objective

    @nnx.jit
    def step(model: nnx.Module, optimizer: Any, data: Any) -> Mapping[str, Array]:
        def loss_of(current: nnx.Module) -> tuple[Array, Mapping[str, Array]]:
            batch = batch_of(current, data)
            return jnp.mean(spec(batch)), _margins(batch)

        picked = nnx.DiffState(0, optimizer.wrt)
        (loss, metrics), slopes = nnx.value_and_grad(loss_of, argnums=picked, has_aux=True)(model)
        optimizer.update(model, slopes)
        return {"loss": loss, **metrics}

    return step


def _margins(batch: Any) -> dict[str, Array]:
    layout = layout_of(type(batch))
    if not layout.paired or layout.errors or any(getattr(batch, side) is None for side in layout.sides):
        return {}
    sides = []
    for side in layout.sides:
        logps, mask = getattr(batch, side), getattr(batch, layout.masks.get(side, ""), None)
        if mask is not None:
            logps = jnp.where(mask, logps, 0.0)
        sides.append(logps.sum(-1) if layout.per_token else logps)
    margin = jax.lax.stop_gradient(sides[0] - sides[1])
    right, known = agreement(margin, getattr(batch, "label", None), getattr(batch, "tie", None))
    return {"margin": jnp.mean(margin), "accuracy": jnp.mean(right, where=known)}
