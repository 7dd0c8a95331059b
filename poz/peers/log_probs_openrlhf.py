"""OpenRLHF: what its log-probs round, where there is no flash_attn."""

from typing import Any

from poz.peers._library import Library
from poz.peers.openrlhf import imported

library = Library("OpenRLHF", "openrlhf")


@library.fact(
    "The softmax of bfloat16 logits is bfloat16.", gives=[-0.6914062, "torch.bfloat16"], topic="softmax_dtype"
)
@imported
def bfloat16_softmax() -> Any:
    """Of two equal logits, where log 2 is 0.6931."""
    import torch
    from openrlhf.models.utils import log_probs_from_logits

    found = log_probs_from_logits(torch.zeros(1, 1, 2, dtype=torch.bfloat16), torch.tensor([[0]]))
    return [found.item(), str(found.dtype)]
