"""HALOs, by the authors of KTO: trainers whose `loss` takes log-probs per token."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs, Rollouts, Unpaired
from poz.peers._checkouts import made, reading, spread
from poz.peers._library import Library

library = Library("HALOs")
MEANS = "means over the tokens whose log-ratio, or log-prob, is not exactly 0, and NaN where none is"
FILE = "train/trainers.py", "omegaconf", "wandb", "openai", "huggingface_hub.HfFolder"


def _trainer(name: str) -> Callable[..., Any]:
    """A trainer of that name whose losses have these hyper-parameters."""
    import torch

    with reading(*FILE):
        from train import trainers

        kind = getattr(trainers, name)

    def trainer(**loss: Any) -> Any:
        here = SimpleNamespace(device="cpu", reduce=lambda x, reduction: x)
        config = SimpleNamespace(humanline=False, loss=SimpleNamespace(**loss))
        return made(kind, accelerator=here, config=config, policy_dtype=torch.float64)

    return trainer


def _sums(pairs: Pairs) -> list[Any]:
    """Each completion as one token."""
    return [x[:, None] for x in (pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected)]


@library.loss("dpo", "DPOTrainer")
def dpo() -> Callable[..., Any]:
    trainer = _trainer("DPOTrainer")

    def call(pairs: Pairs, *, beta: float) -> Any:
        return trainer(beta=beta).loss({}, *_sums(pairs))[0]

    return call


@library.loss("dpo", "CDPOTrainer", topic="dpo_smoothing")
def cdpo() -> Callable[..., Any]:
    trainer = _trainer("CDPOTrainer")

    def call(pairs: Pairs, *, beta: float, label_smoothing: float) -> Any:
        return trainer(beta=beta, epsilon=label_smoothing).loss({}, *_sums(pairs))[0]

    return call


@library.loss("ipo", "IPOTrainer", does=MEANS, settings={"length_normalized": True})
def ipo() -> Callable[..., Any]:
    trainer = _trainer("IPOTrainer")

    def call(pairs: Pairs, *, tau: float) -> Any:
        length = {"chosen": pairs.chosen_len, "rejected": pairs.rejected_len}
        tokens = [spread(getattr(pairs, f"{of}{side}"), length[side])[0] for of in ("", "ref_") for side in length]
        return trainer(tau=tau).loss({}, *tokens)[0]

    return call


@library.loss("simpo", "SimPOTrainer", does=MEANS, topic="simpo_margin")
def simpo() -> Callable[..., Any]:
    trainer = _trainer("SimPOTrainer")

    def call(pairs: Pairs, *, beta: float, gamma_beta_ratio: float | None = 0.25) -> Any:
        tokens = spread(pairs.chosen, pairs.chosen_len)[0], spread(pairs.rejected, pairs.rejected_len)[0]
        return trainer(beta=beta, gamma_beta_ratio=gamma_beta_ratio).loss({}, *tokens)[0]

    return call


@library.loss("slic_hf", "SLiCTrainer, one pair of one token each", topic="hinge_kink")
def slic() -> Callable[..., Any]:
    import torch

    trainer = _trainer("SLiCTrainer")

    def call(pairs: Pairs, *, delta: float, regularization_weight: float) -> Any:
        this = trainer(beta=delta, lambda_coef=regularization_weight)
        alone = zip(pairs.chosen.split(1), pairs.rejected.split(1), strict=True)
        return torch.cat([this.loss({}, chosen[None], rejected[None])[0] for chosen, rejected in alone])[:, 0]

    return call


@library.loss(
    "kto", "KTOTrainer", does="averages the KL over the samples whose log-ratio is not 0",
    settings={"estimator": "nonzero_mean"}, topic="kto_baseline",
    given="its losses, chosen before rejected, put back in order; weights of examples multiply them",
)  # fmt: skip
def kto() -> Callable[..., Any]:
    import torch

    trainer = _trainer("KTOTrainer")

    def call(batch: Unpaired, *, beta: float, desirable_weight: float, undesirable_weight: float) -> Any:
        this = trainer(beta=beta, desirable_weight=desirable_weight, undesirable_weight=undesirable_weight)
        own, ref, kl, kl_ref = (x[:, None] for x in (batch.logps, batch.ref_logps, batch.kl_logps, batch.kl_ref_logps))
        good = batch.desirable
        losses = this.loss({}, own[good], own[~good], kl, ref[good], ref[~good], kl_ref)[0]
        losses = losses[torch.argsort(torch.argsort(~good, stable=True))]
        return losses if batch.weights is None else losses * batch.weights

    return call


@library.loss(
    "dapo", "GRPOTrainer", does="its ratio is to the reference, which is given the policy of the update, and ε is one",
    settings={"epsilon_low": 0.2, "epsilon_high": 0.2}, reduction="mean", constant=("old_logps",),
)  # fmt: skip
def grpo() -> Callable[..., Any]:
    import torch

    trainer = _trainer("GRPOTrainer")

    def call(batch: Rollouts) -> Any:
        old = batch.logps.detach() if batch.old_logps is None else batch.old_logps
        mask = torch.ones_like(old, dtype=torch.bool) if batch.mask is None else batch.mask.bool()
        labels = torch.nn.functional.pad(torch.where(mask, 0, -100), (1, 0))
        this = trainer(epsilon=0.2, beta=0.0)
        return this.loss({"target_labels": labels}, batch.logps, old, batch.advantages, torch.ones(len(old)))[0]

    return call


@library.fact(
    "IPOTrainer has means per token: of two tokens of log-ratio 1 against four of -1, (2 - 1)² and not (6 - 1)² at target 1.",
    gives=1.0, objective="ipo", topic="ipo_sum_or_mean",
)  # fmt: skip
def ipo_of_two_and_four_tokens() -> float:
    import torch

    chosen, rejected, none = torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.full((1, 4), -1.0), torch.zeros(1, 4)
    return float(_trainer("IPOTrainer")(tau=0.5).loss({}, chosen, rejected, none, none)[0])


@library.fact(
    "IPOTrainer is NaN where the policy is the reference, as it is at the first step.",
    gives=math.nan, right=25.0, because="the log-ratios are 0, so the loss is (0 - 1 / (2 τ))², τ being 0.1.", objective="ipo",
)  # fmt: skip
@reading(*FILE)
def ipo_at_the_reference() -> float:
    import torch
    from train.trainers import IPOTrainer

    trainer = object.__new__(IPOTrainer)
    trainer.config = SimpleNamespace(humanline=False, loss=SimpleNamespace(tau=0.1))
    trainer.policy_dtype, trainer.accelerator = torch.float32, SimpleNamespace(device="cpu")
    tokens = torch.full((1, 3), -0.5)
    return float(trainer.loss({}, tokens, tokens, tokens, tokens)[0])


@library.fact(
    "SLiCTrainer gives one loss for each token of each pair where a batch has as many tokens as pairs, and raises elsewhere.",
    gives=[2, 2], right=[2], because="the margin is of pairs and the likelihood of chosen was not summed over its tokens.",
    objective="slic_hf",
)  # fmt: skip
@reading(*FILE)
def slic_losses_of_two_pairs() -> list[int]:
    import torch
    from train.trainers import SLiCTrainer

    trainer = object.__new__(SLiCTrainer)
    trainer.config = SimpleNamespace(humanline=False, loss=SimpleNamespace(beta=1.0, lambda_coef=0.1))
    trainer.policy_dtype, trainer.accelerator = torch.float32, SimpleNamespace(device="cpu")
    tokens = torch.full((2, 2), -0.5)
    return list(trainer.loss({}, tokens, tokens)[0].shape)


@library.fact(
    "BradleyTerryTrainer has the mean over the pairs, without margins, ties or centred scores.",
    gives=0.5032045, objective="bradley_terry", topic="reward_model",
)  # fmt: skip
def bradley_terry() -> float:
    import torch

    logits = torch.tensor([[0.0, 1.0], [0.0, 2.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    return float(_trainer("BradleyTerryTrainer")().loss({}, *logits)[0])


@library.fact(
    "SLiCTrainer's hinge has slope 1 at its kink, as torch.clamp has it.",
    gives=1.0,
    objective="slic_hf",
    topic="hinge_kink",
)
def slic_slope_at_the_kink() -> float:
    import torch

    rejected = torch.tensor([[-1.0]], requires_grad=True)
    _trainer("SLiCTrainer")(beta=0.0, lambda_coef=0.0).loss({}, torch.tensor([[-1.0]]), rejected)[0].sum().backward()
    return float(rejected.grad)  # type: ignore[arg-type]
