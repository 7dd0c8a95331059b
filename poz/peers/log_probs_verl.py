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
