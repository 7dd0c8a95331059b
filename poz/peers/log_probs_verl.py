"""verl: the log-probs under its workers, where there is no flash_attn."""

from collections.abc import Callable
from typing import Any

from poz.peers._library import Library

library = Library("verl", "verl")


def _of_logits(name: str) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        from verl.utils import torch_functional

        function = getattr(torch_functional, name)
        return lambda logits, targets: function(logits, targets)

    return make


for name in ("logprobs_from_logits", "logprobs_from_logits_v2"):
    library.log_probs(f"{name}, on a CPU", logits=True)(_of_logits(name))


@library.log_probs("FusedLinearForPPO, impl_backend='torch'")
def _fused() -> Callable[..., Any]:
    from verl.utils.experimental.torch_functional import FusedLinearForPPO

    head = FusedLinearForPPO()
    return lambda hidden, weight, targets, softcap: head(hidden[None], weight, targets[None])[0][0]


@library.fact(
    "The logits of a bfloat16 head are rounded to bfloat16, then the softmax is float32",
    gives=-0.6931472,
    topic="softmax_dtype",
)
def fused_bfloat16() -> Any:
    """The log-prob of a token with logit 257 beside one with 256, which is -0.3133."""
    import torch
    from verl.utils.experimental.torch_functional import FusedLinearForPPO

    hidden = torch.tensor([[16.0, 1.0]], dtype=torch.bfloat16)
    weight = torch.tensor([[16.0, 1.0], [16.0, 0.0]], dtype=torch.bfloat16)
    return FusedLinearForPPO()(hidden[None], weight, torch.tensor([[0]]))[0].item()


@library.fact(
    "`logprobs_from_logits` of bfloat16 logits is bfloat16, on a CPU",
    gives=[-0.6914062, "torch.bfloat16"],
    topic="softmax_dtype",
)
def bfloat16_softmax() -> Any:
    """Of two equal logits, where log 2 is 0.6931."""
    import torch
    from verl.utils.torch_functional import logprobs_from_logits

    found = logprobs_from_logits(torch.zeros(1, 2, dtype=torch.bfloat16), torch.tensor([0]))
    return [found.item(), str(found.dtype)]
