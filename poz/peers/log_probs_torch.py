"""torch: its own cross-entropy, the yardstick."""

from collections.abc import Callable
from typing import Any

from poz.peers._library import Library

library = Library("torch", "torch")


@library.log_probs("functional.cross_entropy, reduction='none'", logits=True)
def _cross_entropy() -> Callable[..., Any]:
    from torch.nn.functional import cross_entropy

    return lambda logits, targets: -cross_entropy(logits, targets, reduction="none")


@library.log_probs("functional.cross_entropy of logits.float()", logits=True)
def _cross_entropy_of_float() -> Callable[..., Any]:
    from torch.nn.functional import cross_entropy

    return lambda logits, targets: -cross_entropy(logits.float(), targets, reduction="none")


@library.log_probs("log_softmax and gather", logits=True)
def _gathered() -> Callable[..., Any]:
    return lambda logits, targets: logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]


@library.log_probs("functional.cross_entropy of functional.linear")
def _linear() -> Callable[..., Any]:
    from torch.nn.functional import cross_entropy, linear

    return lambda hidden, weight, targets, softcap: -cross_entropy(linear(hidden, weight), targets, reduction="none")
