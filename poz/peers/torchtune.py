"""torchtune: its losses on pairs and on rollouts, and what its PPO makes of rewards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poz.families import Pairs, Rollouts
from poz.peers._library import Library

library = Library("torchtune", "torchtune")


@library.loss("dpo", "DPOLoss", topic="dpo_smoothing")
def _dpo() -> Callable[..., Any]:
    from torchtune.rlhf.loss import DPOLoss

    def call(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Any:
        return DPOLoss(beta, label_smoothing)(pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected)[0]

    return call


@library.loss("hinge", "RSOLoss, whose γ is β")
def _rso() -> Callable[..., Any]:
    from torchtune.rlhf.loss import RSOLoss

    def call(pairs: Pairs, *, beta: float = 0.1) -> Any:
        return RSOLoss(beta)(pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected)[0]

    return call


@library.loss(
    "ppo_clip", "PPOLoss", reduction="mean", does="has an ε of 0.1", settings={"epsilon_low": 0.1, "epsilon_high": 0.1},
    given="values of 0, which cost nothing",
)  # fmt: skip
def _ppo() -> Callable[..., Any]:
    from torchtune.rlhf.loss import PPOLoss

    def call(rollouts: Rollouts) -> Any:
        logps = rollouts.logps
        old = logps.detach() if rollouts.old_logps is None else rollouts.old_logps.detach()
        values, advantages = 0 * logps.detach(), rollouts.advantages[:, None].expand_as(logps)
        return PPOLoss()(old, logps, advantages, values, values, values, rollouts.mask)[0]

    return call


@library.fact(
    "PPO's advantages are scaled to a variance of 1, but their mean is put back.", gives=3.0, right=0.0,
    because="Normalized advantages have mean 0; whiten says that it is TRL's, where shift_mean=True leaves the mean out.",
    link="torchtune.rlhf.whiten: `if shift_mean: whitened += mean`; in TRL 0.24 it is `if not shift_mean`",
)  # fmt: skip
def advantages_keep_their_mean() -> Any:
    import torch
    from torchtune.rlhf import estimate_advantages

    rewards = torch.tensor([[1.0, 3.0, 5.0]])  # which are the advantages, of values 0 and without a future
    advantages, _ = estimate_advantages(torch.zeros(1, 3), rewards, gamma=0.0, lmbda=0.0)
    return advantages.mean().item()


@library.fact(
    "The mean log-prob of a completion without tokens is 0, if means are asked for.", topic="empty_mean",
    gives=[0.0, -0.6931472],
)  # fmt: skip
def empty_mean() -> Any:
    import torch
    from torchtune.rlhf import get_batch_log_probs

    labels = torch.tensor([[-100, -100, -100], [-100, 0, 0]])
    return get_batch_log_probs(torch.zeros(2, 3, 2), labels, return_average_logprobs=True).tolist()


@library.fact("A batch has its chosen rows, then its rejected ones.", topic="layout", gives=[[1], [3], [2], [4]])
def layout() -> Any:
    from torchtune.data import padded_collate_dpo

    pairs = [(1, 2), (3, 4)]
    rows = [
        {"chosen_input_ids": [w], "chosen_labels": [w], "rejected_input_ids": [r], "rejected_labels": [r]} for w, r in pairs
    ]  # fmt: skip
    return padded_collate_dpo(rows)[0].tolist()
