"""LCPO-EM for JAX: pure functions on a pytree, usable under `jit`, `grad`, `shard_map` and `pmap`.

    state = init(num_annotators)

    def loss(params, state, batch):
        losses, found = losses_and_sums(pairs(params, batch), state.reliability, base=poz.dpo.bind(beta=0.1))
        return losses.mean(), found

    (value, found), grads = jax.value_and_grad(loss, has_aux=True)(params, state, batch)
    state = update(state, found, axis_name="data")

Under `jit` alone, on arrays sharded over a mesh, sums are global already and no `axis_name` is needed. Annotator ids
are checked outside `jit` only; inside, an id that is negative or too large gives NaN.
"""

from __future__ import annotations

from collections.abc import Hashable

import jax
import jax.numpy as jnp
import numpy.typing as npt

from poz.algorithms import lcpo_em
from poz.algorithms.lcpo_em import State as State
from poz.algorithms.lcpo_em import Sums as Sums
from poz.algorithms.lcpo_em import accumulate as accumulate
from poz.algorithms.lcpo_em import losses_and_sums as losses_and_sums


def init(num_annotators: int = 1, reliability: npt.ArrayLike = 0.9) -> State:
    """The state before the first step, of float32 JAX arrays; see `poz.algorithms.lcpo_em.init`."""
    return lcpo_em.init(num_annotators, reliability, like=jnp.zeros(0, jnp.float32))


def update(
    state: State,
    found: Sums,
    *,
    step_size: float | jax.Array = 0.1,
    axis_name: Hashable | tuple[Hashable, ...] | None = None,
) -> State:
    """M-step of the reliabilities, once for each optimiser step; see `poz.algorithms.lcpo_em.update`.

    Args:
        state: Before.
        found: Sums of this device over all micro-batches of the step.
        step_size: Share of the way to the batch's estimate, in (0, 1].
        axis_name: Mapped axis, or axes, to sum over, so that all devices hold equal reliabilities.
    """
    if axis_name is not None:
        found = jax.lax.psum(found, axis_name)
    return lcpo_em.update(state, found, step_size=step_size)
