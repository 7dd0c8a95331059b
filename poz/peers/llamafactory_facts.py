"""LLaMA-Factory: what its trainers do on one small input, and their log-probs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.peers._library import Library
from poz.peers.llamafactory import without_sound

library = Library("LLaMA-Factory", "llamafactory")


def _fact(does: str, **rest: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def keep(call: Callable[[], Any]) -> Callable[[], Any]:
        @functools.wraps(call)
        def run() -> Any:
            without_sound()
            return call()

        return library.fact(does, **rest)(run)

    return keep


@_fact(
    "With TRL 0.24, the newest that it allows, pref_loss of `hinge` and `ipo` train `sigmoid`.",
    objective="hinge", topic="ipo_sum_or_mean",
    gives=[0.5981389, 0.5981389], right=[0.8, 9.0],
    because="Chosen is 2 nats better than rejected, beside the reference: a hinge of 1 - 0.1 * 2, and (2 - 1 / (2 * 0.1))². That "
    "TRL takes the loss as an argument of dpo_loss, of which sigmoid is the default.",
    link="CustomDPOTrainer.compute_preference_loss, which calls dpo_loss of TRL without a loss_type",
)  # fmt: skip
def pref_loss_is_ignored() -> Any:
    import torch
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    trainer = CustomDPOTrainer.__new__(CustomDPOTrainer)  # with what its __init__ gives it from the arguments
    trainer.finetuning_args, trainer.accelerator = SimpleNamespace(use_ref_model=True), SimpleNamespace(device="cpu")
    trainer.beta, trainer.label_smoothing, trainer.bco_gemma, trainer.reference_free = 0.1, 0.0, 0.0, False
    trainer.f_divergence_type, given = "reverse_kl", [torch.tensor([x]) for x in (-1.0, -3.0, -2.0, -2.0)]
    losses = []
    for trainer.loss_type in ("hinge", "ipo"):
        losses.append(trainer.compute_preference_loss(*given)[0].item())
    return losses


@_fact(
    "The gradient of ORPO is NaN where the mean log-prob of chosen is so near to 0 that its exponential is 1.",
    objective="orpo", gives=float("nan"), right=-1.0581977,
    because="The slope in x is -1 - λ σ(-h) / (1 - e^x) with log-odds h = log(e^x / (1 - e^x)) - log(e^-1 / (1 - e^-1)).",
    link="CustomDPOTrainer.odds_ratio_loss",
)  # fmt: skip
def orpo_at_certainty() -> Any:
    import torch
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    chosen = torch.tensor([-1e-8], requires_grad=True)
    loss = CustomDPOTrainer.odds_ratio_loss(SimpleNamespace(beta=0.1), chosen, torch.tensor([-1.0]))
    return torch.autograd.grad(loss.sum(), chosen)[0].item()


@_fact(
    "Its BCO term (pref_bco_weight) moves the baseline to the mean of batch means, this batch included.",
    objective="bco", topic="bco_baseline", gives=[0.1, 0.3],
)  # fmt: skip
def bco_baseline() -> Any:
    import torch
    from accelerate import Accelerator
    from llamafactory.train.dpo.trainer import CustomDPOTrainer
    from trl.trainer.utils import RunningMoments  # type: ignore[attr-defined]

    trainer, means = SimpleNamespace(beta=0.1, running=RunningMoments(Accelerator(cpu=True))), []
    for rewards in ([1.0], [5.0, 5.0, 5.0]):  # β times them: the mean of all is 0.4
        logps = torch.tensor(rewards)
        CustomDPOTrainer.bco_loss(trainer, logps, logps, 0 * logps, 0 * logps)
        means.append(float(trainer.running.mean))
    return means


@_fact("The mean log-prob of a completion without tokens is NaN.", topic="empty_mean", gives=[-0.6931472, float("nan")])
def empty_mean() -> Any:
    import torch
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    trainer = SimpleNamespace(finetuning_args=SimpleNamespace(use_ref_model=False), ld_alpha=None, loss_type="simpo")
    batch = {"input_ids": torch.zeros(2, 2), "labels": torch.tensor([[-100, 0], [-100, -100]])}
    model = lambda **_: SimpleNamespace(logits=torch.zeros(2, 2, 2))  # noqa: E731
    found = CustomDPOTrainer.concatenated_forward(trainer, model, batch)
    return [found["chosen_logps"].item(), found["rejected_logps"].item()]


@_fact("A batch has its chosen rows, then its rejected ones.", topic="layout", gives=[[0, 1], [2, 3]])
def layout() -> Any:
    import torch
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    trainer = SimpleNamespace(finetuning_args=SimpleNamespace(use_ref_model=False), ld_alpha=None, loss_type="sigmoid")
    batch = {"input_ids": torch.zeros(4, 2), "labels": torch.zeros(4, 2, dtype=torch.long)}
    model = lambda **_: SimpleNamespace(logits=torch.arange(4.0)[:, None, None].expand(4, 2, 2))  # noqa: E731
    found = CustomDPOTrainer.concatenated_forward(trainer, model, batch)
    return [found[side][:, 0, 0].tolist() for side in ("chosen_logits", "rejected_logits")]


@_fact(
    "SimPO inherits pref_beta of 0.1, with simpo_gamma of 0.5: a margin γ/β of 5 nats per token.",
    objective="simpo", topic="simpo_margin", gives=[0.1, 0.5],
)  # fmt: skip
def simpo_defaults() -> Any:
    from llamafactory.hparams import FinetuningArguments

    given = FinetuningArguments(stage="dpo", pref_loss="simpo")
    return [given.pref_beta, given.simpo_gamma]


@_fact(
    "Label smoothing is refused for all losses but `sigmoid`.", objective="simpo", topic="simpo_smoothing",
    gives="`dpo_label_smoothing` is only valid for sigmoid loss function.",
)  # fmt: skip
def simpo_smoothing() -> Any:
    from llamafactory.hparams import FinetuningArguments

    try:
        FinetuningArguments(stage="dpo", pref_loss="simpo", dpo_label_smoothing=0.1)
    except ValueError as error:
        return str(error)
    return ""


@_fact(
    "The NLL of ORPO is the mean over the pairs of the mean over the tokens of the response.",
    objective="orpo", topic="orpo_nll", gives=2.5,
)  # fmt: skip
def orpo_nll() -> Any:
    import torch
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    means = torch.tensor([-1.0, -4.0])  # of one token and of three: -3.25 over all
    losses = CustomDPOTrainer.odds_ratio_loss(SimpleNamespace(beta=0.0), means, means)
    return losses.mean().item()


@_fact(
    "A KTO loss that is NaN is left out of the mean over the batch.", objective="kto", topic="kto_reduction", gives=2.0
)
def kto_reduction() -> Any:
    import torch
    from llamafactory.train.kto.trainer import CustomKTOTrainer

    x, losses = torch.zeros(1), torch.tensor([float("nan"), 1.0, 3.0])
    trainer = SimpleNamespace(
        concatenated_forward=lambda *_: (x, x, x, x, x, x), compute_reference_log_probs=lambda *_: (x, x, x),
        kto_loss=lambda *_: (losses, x, x, x), ftx_gamma=0.0,
    )  # fmt: skip
    return CustomKTOTrainer.get_batch_loss_metrics(trainer, None, {})[0].item()


@_fact(
    "The reference point of KTO is the mean of the ranks' means, then 0 where that is negative.",
    objective="kto", topic="kto_baseline", gives=0.0,
)  # fmt: skip
def kto_baseline() -> Any:
    import torch
    from llamafactory.train.kto.trainer import CustomKTOTrainer

    ranks = SimpleNamespace(device="cpu", gather_for_metrics=lambda kl: torch.stack([kl, torch.tensor(1.0)]))
    trainer = SimpleNamespace(
        calculate_KL=True, loss_type="kto", beta=0.1, accelerator=ranks, desirable_weight=1.0, undesirable_weight=1.0
    )
    x = torch.zeros(1)
    return CustomKTOTrainer.kto_loss(trainer, x, x, torch.tensor([-3.0, -1.0]), x, x, torch.zeros(2))[3].item()


@_fact(
    "A reward model is trained without margins and without centering.", objective="bradley_terry", topic="reward_model",
    gives=0.3132617,
)  # fmt: skip
def reward_model() -> Any:
    import torch
    from llamafactory.train.rm.trainer import PairwiseTrainer

    rows = {"input_ids": torch.zeros(2, 1), "attention_mask": torch.ones(2, 1, dtype=torch.long)}
    values = torch.tensor([[3.0], [2.0]])
    return PairwiseTrainer.compute_loss(None, lambda **_: (None, None, values), {**rows, "margin": [9.0]}).item()


@library.log_probs("CustomDPOTrainer.concatenated_forward", logits=True)
def _log_probs() -> Callable[..., Any]:
    without_sound()
    import torch
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    trainer = SimpleNamespace(finetuning_args=SimpleNamespace(use_ref_model=False), ld_alpha=None, loss_type="sigmoid")

    def call(logits: Any, targets: Any) -> Any:
        labels = torch.stack([targets, targets], 1)
        found = CustomDPOTrainer.concatenated_forward(
            trainer, lambda **_: SimpleNamespace(logits=logits[:, None].expand(-1, 2, -1)),
            {"input_ids": labels, "labels": labels},
        )  # fmt: skip
        return torch.cat([found["chosen_logps"], found["rejected_logps"]])

    return call
