"""JAX: what hinges and clips are built from, at the points where they have no slope of their own."""

from typing import Any

from poz.peers._library import Library

library = Library("JAX", "jax")


@library.fact(
    "The slope of relu at 0 is 0, of jnp.maximum 1/2, and of jnp.clip at its end 1/2",
    gives=[0.0, 0.5, 0.5],
    topic="hinge_kink",
)
def kinks() -> Any:
    """Each at 0."""
    import jax
    import jax.numpy as jnp

    each = (jax.nn.relu, lambda x: jnp.maximum(x, 0.0), lambda x: jnp.clip(x, 0.0, 1.0))
    return [float(jax.grad(f)(0.0)) for f in each]


@library.fact(
    "A clipped ratio that stands at its clip has 3/4 of the slope, by half of jnp.clip and half of jnp.minimum",
    gives=0.75,
    topic="hinge_kink",
)
def clipped_ratio_kink() -> Any:
    """A ratio of 1 with ε = 0 above, advantage 1."""
    import jax
    import jax.numpy as jnp

    return float(jax.grad(lambda ratio: jnp.minimum(ratio, jnp.clip(ratio, 0.8, 1.0)))(1.0))
