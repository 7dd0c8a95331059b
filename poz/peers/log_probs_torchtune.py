"""torchtune: the log-probs under its DPO recipes."""

from collections.abc import Callable
from typing import Any

from poz.peers._library import Library
from poz.peers._log_probs import shifted

library = Library("torchtune", "torchtune")


@library.log_probs("rlhf.get_batch_log_probs", logits=True)
def _batch() -> Callable[..., Any]:
    from torchtune.rlhf import get_batch_log_probs

    return lambda logits, targets: get_batch_log_probs(*shifted(logits, targets))


@library.fact(
    "`get_batch_log_probs` of bfloat16 logits is bfloat16", gives=[-0.6914062, "torch.bfloat16"], topic="softmax_dtype"
)
def bfloat16_softmax() -> Any:
    """Of a token whose logit is that of one other, where log 2 is 0.6931."""
    import torch
    from torchtune.rlhf import get_batch_log_probs

    found = get_batch_log_probs(torch.zeros(1, 2, 2, dtype=torch.bfloat16), torch.tensor([[-100, 0]]))
    return [found.item(), str(found.dtype)]
