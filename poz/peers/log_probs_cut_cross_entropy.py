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


@library.fact(
    "The logits of a bfloat16 head are rounded to bfloat16, then the softmax is float32 (impl='torch_compile')",
    gives=-0.6931472,
    topic="softmax_dtype",
)
def fused_bfloat16() -> Any:
    """The log-prob of a token with logit 257 beside one with 256, which is -0.3133."""
    import torch
    from cut_cross_entropy import linear_cross_entropy

    hidden = torch.tensor([[16.0, 1.0]], dtype=torch.bfloat16)
    weight = torch.tensor([[16.0, 1.0], [16.0, 0.0]], dtype=torch.bfloat16)
    with torch.compiler.set_stance("force_eager"):
        loss = linear_cross_entropy(hidden, weight, torch.tensor([0]), impl="torch_compile")
    return -loss.item()
