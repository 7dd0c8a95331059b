"""Liger-Kernel: the log-probs under its chunked losses; its Triton kernels are not run on a CPU."""

from collections.abc import Callable
from typing import Any

from poz.peers._library import Library

library = Library("Liger", "liger-kernel")


@library.log_probs("LigerFusedLinearGRPOLoss, log-probs of a chunk")
def _of_rollouts() -> Callable[..., Any]:
    from liger_kernel.chunked_loss.fused_linear_ppo import LigerFusedLinearPPOBase

    def call(hidden: Any, weight: Any, targets: Any, softcap: None) -> Any:
        return LigerFusedLinearPPOBase.chunk_forward(hidden[:, None], weight, targets[:, None])[:, 0]

    return call


@library.log_probs("LigerFusedLinearPreferenceBase, log-probs of completions of one token")
def _of_pairs() -> Callable[..., Any]:
    import torch
    from liger_kernel.chunked_loss.fused_linear_preference import LigerFusedLinearPreferenceBase

    def call(hidden: Any, weight: Any, targets: Any, softcap: None) -> Any:
        chosen, rejected, *_ = LigerFusedLinearPreferenceBase.chunk_forward(
            hidden[:, None], weight, targets[:, None], compute_nll_loss=False, average_log_prob=False
        )
        return torch.cat([chosen, rejected])

    return call


@library.fact(
    "The logits of a bfloat16 head are rounded to bfloat16 before the log-sum-exp",
    gives=-0.6931472,
    right=-0.3132617,
    because="257 and 256 are sums of products of bfloat16 numbers, which float32 holds exactly; in bfloat16 257 is 256.",
    topic="softmax_dtype",
)
def preference_bfloat16() -> Any:
    """The log-prob of a token with logit 257 beside one with 256."""
    import torch
    from liger_kernel.chunked_loss import LigerFusedLinearCPOLoss

    hidden = torch.tensor([16.0, 1.0], dtype=torch.bfloat16).expand(2, 1, 2)
    weight = torch.tensor([[16.0, 1.0], [16.0, 0.0]], dtype=torch.bfloat16)
    _, (chosen, *_) = LigerFusedLinearCPOLoss(compiled=False)(weight, hidden, torch.zeros(2, 1, dtype=torch.int64))
    return chosen.item()
