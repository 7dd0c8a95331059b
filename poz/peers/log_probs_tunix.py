"""Tunix: what its log-probs round."""

from typing import Any

from poz.peers._library import Library

library = Library("Tunix", "google-tunix")


@library.fact(
    "`selective_log_softmax` of bfloat16 logits has a float32 softmax",
    gives=[-0.6931472, "float32"],
    topic="softmax_dtype",
)
def float32_softmax() -> Any:
    """Of two equal logits, where log 2 is 0.6931."""
    import jax.numpy as jnp
    from tunix.rl.common import selective_log_softmax

    found = selective_log_softmax(jnp.zeros((1, 2), "bfloat16"), jnp.array([0]))
    return [found.item(), str(found.dtype)]
