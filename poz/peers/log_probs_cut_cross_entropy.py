"""cut-cross-entropy: its torch implementation; the Triton kernel, which keeps logits in float32, needs a GPU."""

from collections.abc import Callable
from typing import Any

from poz.peers._library import Library

library = Library("cut-cross-entropy", "cut-cross-entropy")


@library.log_probs("linear_cross_entropy, impl='torch_compile', reduction='none'", softcap=True)
def _torch_compile() -> Callable[..., Any]:
    import torch
    from cut_cross_entropy import linear_cross_entropy

    def call(hidden: Any, weight: Any, targets: Any, softcap: float | None) -> Any:
        with torch.compiler.set_stance("force_eager"):
            return -linear_cross_entropy(
                hidden, weight, targets, softcap=softcap, reduction="none", impl="torch_compile"
            )

    return call
