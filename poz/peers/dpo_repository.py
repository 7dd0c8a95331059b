"""The repository of DPO's authors, eric-mitchell/direct-preference-optimization: one function for DPO, cDPO and IPO."""

from collections.abc import Callable
from typing import Any

from poz.families import Pairs
from poz.peers._checkouts import reading
from poz.peers._library import Library

library = Library("DPO repository")
FILE = "trainers.py", "bs4", "omegaconf", "tensor_parallel", "wandb"


def _preference_loss() -> Callable[..., Any]:
    with reading(*FILE):
        from trainers import preference_loss
    return preference_loss  # type: ignore[no-any-return]


@library.loss("dpo", "preference_loss", topic="dpo_smoothing")
def dpo() -> Callable[..., Any]:
    loss = _preference_loss()

    def call(pairs: Pairs, *, beta: float, label_smoothing: float) -> Any:
        given = pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected
        return loss(*given, beta=beta, label_smoothing=label_smoothing)[0]

    return call


@library.loss("ipo", "preference_loss, ipo=True", topic="ipo_sum_or_mean")
def ipo() -> Callable[..., Any]:
    loss = _preference_loss()

    def call(pairs: Pairs, *, tau: float) -> Any:
        return loss(pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected, beta=tau, ipo=True)[0]

    return call


@library.log_probs("_get_batch_logps", logits=True)
def log_probs() -> Callable[..., Any]:
    import torch

    with reading(*FILE):
        from trainers import _get_batch_logps

    def call(logits: Any, targets: Any) -> Any:
        """A sequence for each token, behind a prompt of one."""
        labels = torch.stack([torch.zeros_like(targets), targets], 1)
        return _get_batch_logps(torch.stack([logits, torch.zeros_like(logits)], 1), labels)

    return call


@library.fact("The mean of a completion without tokens is NaN.", gives=[float("nan")], topic="empty_mean")
def mean_of_no_tokens() -> list[float]:
    import torch

    with reading(*FILE):
        from trainers import _get_batch_logps
    labels = torch.full((1, 3), -100)
    return _get_batch_logps(torch.zeros(1, 3, 2), labels, average_log_prob=True).tolist()  # type: ignore[no-any-return]


@library.fact(
    "The softmax is of the model's dtype: in bfloat16 the log-prob of one of 1000 equal tokens is rounded.",
    gives=-6.90625, topic="softmax_dtype",
)  # fmt: skip
def log_prob_in_bfloat16() -> float:
    import torch

    with reading(*FILE):
        from trainers import _get_batch_logps
    logits = torch.zeros(1, 2, 1000, dtype=torch.bfloat16)
    return float(_get_batch_logps(logits, torch.tensor([[-100, 0]])))


@library.fact(
    "A batch is all chosen completions, then all rejected ones.", gives=["chosen", "chosen", "rejected", "rejected"],
    topic="layout",
)  # fmt: skip
def layout() -> list[str]:
    import torch

    with reading(*FILE):
        from trainers import concatenated_inputs
    ids = {"chosen_input_ids": torch.zeros(2, 1), "rejected_input_ids": torch.ones(2, 1)}
    rows = concatenated_inputs(ids)["concatenated_input_ids"][:, 0]
    return ["rejected" if row else "chosen" for row in rows]
