"""open-instruct, by the authors of Tülu: what a DPO step and a GRPO step call."""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs, Rollouts, TokenPairs
from poz.peers._checkouts import reading, spread
from poz.peers._library import Library

library = Library("open-instruct")
ABSENT = (
    "beaker", "deepspeed", "olmo_core", "ray", "wandb",
    *(f"open_instruct.{one}" for one in ("ground_truth_utils", "logger_utils", "olmo_core_utils", "utils")),
)  # fmt: skip
DPO = "open_instruct/dpo_utils.py", *ABSENT, "open_instruct.dataset_transformation"
GRPO = "open_instruct/grpo_utils.py", *ABSENT, "open_instruct.data_loader", "open_instruct.data_types"


@functools.cache
def _get_batch_logps() -> Callable[..., Any]:
    with reading(*DPO):
        from open_instruct.dpo_utils import _get_batch_logps
    return _get_batch_logps  # type: ignore[no-any-return]


def _sequences(tokens: Any, mask: Any, average: bool) -> Any:
    """(batch,) sums or means by their own function, behind a prompt of one token."""
    import torch

    pad = torch.nn.functional.pad
    return _get_batch_logps()(pad(tokens, (0, 1)), pad(torch.where(mask, 0, -100), (1, 0)), average)


def _pairs(loss_type: str) -> Callable[..., Any]:
    """Their `compute_loss` of pairs whose completions have a log-prob each."""
    with reading(*DPO):
        from open_instruct.dpo_utils import DPOLossType, compute_loss

    def loss(pairs: Any, batch: Any = None, **config: Any) -> Any:
        this = SimpleNamespace(loss_type=DPOLossType(loss_type), **config)
        cache = {0: {"chosen_logps": pairs.ref_chosen, "rejected_logps": pairs.ref_rejected}}
        return compute_loss(this, {"index": 0, **(batch or {})}, pairs.chosen, pairs.rejected, cache)[0]

    return loss


def _means(pairs: Pairs) -> Pairs:
    length = {"chosen": pairs.chosen_len, "rejected": pairs.rejected_len}
    fields = [(name, side) for side in length for name in (side, f"ref_{side}") if getattr(pairs, name) is not None]
    means = {name: _sequences(*spread(getattr(pairs, name), length[side]), average=True) for name, side in fields}
    return pairs._replace(**means)


@library.loss("dpo", "loss_type dpo", topic="dpo_smoothing")
def dpo() -> Callable[..., Any]:
    loss = _pairs("dpo")
    return lambda pairs, *, beta, label_smoothing: loss(pairs, beta=beta, label_smoothing=label_smoothing)


@library.loss("ln_dpo", "loss_type dpo_norm", topic="ln_dpo_beta")
def dpo_norm() -> Callable[..., Any]:
    loss = _pairs("dpo_norm")
    return lambda pairs, *, beta: loss(_means(pairs), beta=beta, label_smoothing=0.0)


@library.loss("simpo", "loss_type simpo", topic="simpo_smoothing")
def simpo() -> Callable[..., Any]:
    loss = _pairs("simpo")

    def call(pairs: Pairs, *, beta: float, gamma_beta_ratio: float | None, label_smoothing: float) -> Any:
        ratio = 0.25 if gamma_beta_ratio is None else gamma_beta_ratio
        return loss(_means(pairs), beta=beta, gamma_beta_ratio=ratio, label_smoothing=label_smoothing)

    return call


@library.loss(
    "wpo", "loss_type wpo, one pair at a time", settings={"collision": False}, topic="wpo_weight",
    does="has no collision probability, and weighs by e to the sums, not the means, with a gradient",
)  # fmt: skip
def wpo() -> Callable[..., Any]:
    import torch

    loss = _pairs("wpo")

    def call(pairs: TokenPairs, *, beta: float, label_smoothing: float) -> Any:
        sides: dict[str, Any] = {}
        for side in ("chosen", "rejected"):
            own, mask = getattr(pairs, side), getattr(pairs, f"{side}_mask")
            mask = torch.ones_like(own, dtype=torch.bool) if mask is None else mask
            sides |= {name: _sequences(getattr(pairs, name), mask, average=False) for name in (side, f"ref_{side}")}
            sides[f"{side}_labels"] = torch.where(mask, 0, -100)
        alone = [{name: x[i : i + 1] for name, x in sides.items()} for i in range(len(pairs.chosen))]
        return torch.cat([loss(SimpleNamespace(**x), x, beta=beta, label_smoothing=label_smoothing) for x in alone])

    return call


def _rollouts(loss_fn: str, kl_estimator: int) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        import torch

        with reading(*GRPO):
            from open_instruct.grpo_utils import GRPOLossType, compute_grpo_loss, masked_mean

        def call(
            batch: Rollouts, *, epsilon_low: float = 0.2, epsilon_high: float = 0.272, kl_weight: float = 0.0
        ) -> Any:
            old = batch.logps.detach() if batch.old_logps is None else batch.old_logps
            config = SimpleNamespace(
                loss_fn=GRPOLossType(loss_fn), clip_lower=epsilon_low, clip_higher=epsilon_high, kl_estimator=kl_estimator
            )  # fmt: skip
            policy, _, kl = compute_grpo_loss(
                new_logprobs=batch.logps, ratio=(batch.logps - old).exp(), advantages=batch.advantages[:, None],
                ref_logprobs=batch.ref_logps, config=config, rho_weights=torch.ones_like(old),
            )  # fmt: skip
            return masked_mean(policy + kl_weight * kl, torch.ones_like(old) if batch.mask is None else batch.mask)

        return call

    return make


KL = {2: "k3", 0: "k1", 1: "k2", 3: "r*k1"}
for kl_estimator, kl in KL.items():
    library.loss(
        "dapo", f"compute_grpo_loss, loss_fn dapo, kl_estimator {kl_estimator}", reduction="mean", topic="kl_estimator",
        constant=("old_logps", "ref_logps"), settings={} if kl == "k3" else {"kl": kl},
        does="" if kl == "k3" else f"has {kl} as the KL",
    )(_rollouts("dapo", kl_estimator))  # fmt: skip
library.loss(
    "cispo", "compute_grpo_loss, loss_fn cispo", does="has no floor", settings={"epsilon_low": 1.0},
    topic="cispo_cap", constant=("old_logps", "ref_logps"), reduction="mean",
)(_rollouts("cispo", 2))  # fmt: skip


@library.fact("beta is 5 by default.", gives=5.0, objective="ln_dpo", topic="ln_dpo_beta")
def default_beta() -> float:
    with reading(*DPO):
        from open_instruct.dpo_utils import DPOConfig
    return DPOConfig.beta  # type: ignore[no-any-return]


@library.fact("The mean of a completion without tokens is 0.", gives=[0.0], topic="empty_mean")
def mean_of_no_tokens() -> list[float]:
    import torch

    return _get_batch_logps()(torch.ones(1, 3), torch.full((1, 3), -100), average_log_prob=True).tolist()  # type: ignore[no-any-return]


@library.fact(
    "The weight of WPO is e to the sums of the log-probs, not to their means over the tokens.",
    gives=0.0126954, right=0.0938057, objective="wpo", topic="wpo_weight",
    because="where each of the tokens has -1 nat the weight is e^(-1 - 1), and the loss log 2 times that.",
)  # fmt: skip
@reading(*DPO)
def wpo_of_two_tokens() -> float:
    import torch
    from open_instruct.dpo_utils import wpo_loss

    logps, mask = torch.tensor([-2.0]), torch.ones(1, 2)
    return float(wpo_loss(logps, logps, logps, logps, 0.1, mask, mask)[0])


@library.fact(
    "WPO raises for a batch of two pairs of three tokens.", gives="RuntimeError", right="a loss", objective="wpo",
    because="log-probs of completions, one for each pair, are multiplied with a mask of tokens.",
)  # fmt: skip
@reading(*DPO)
def wpo_of_two_pairs() -> str:
    import torch
    from open_instruct.dpo_utils import wpo_loss

    logps, mask = torch.tensor([-2.0, -3.0]), torch.ones(2, 3)
    try:
        return "a loss" if wpo_loss(logps, logps, logps, logps, 0.1, mask, mask)[0].shape == (2,) else "no loss"
    except RuntimeError:
        return "RuntimeError"
