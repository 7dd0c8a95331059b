"""optax: cross-entropy of integer labels."""

from collections.abc import Callable
from typing import Any

from poz.peers._library import Library

library = Library("optax", "optax")


@library.log_probs("softmax_cross_entropy_with_integer_labels", logits=True, backend="jax")
def _cross_entropy() -> Callable[..., Any]:
    from optax.losses import softmax_cross_entropy_with_integer_labels

    return lambda logits, targets: -softmax_cross_entropy_with_integer_labels(logits, targets)
