"""ms-swift: what its trainers do on one small input, and their log-probs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import Any

from poz.peers._library import Library

library = Library("ms-swift", "ms-swift")


@library.fact(
    "The baseline of `bco_pair` is the mean of batch means, this batch included.", objective="bco", topic="bco_baseline",
    gives=[0.1, 0.3],
)  # fmt: skip
def bco_baseline() -> Any:
    import torch
    from accelerate import Accelerator
    from swift.rlhf_trainers import DPOTrainer
    from swift.rlhf_trainers.dpo_trainer import RunningMoments

    trainer = SimpleNamespace(
        beta=0.1, f_divergence_type="reverse_kl", reference_free=False, running=RunningMoments(Accelerator(cpu=True)),
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    means = []
    for rewards in ([1.0], [5.0, 5.0, 5.0]):  # β times them: the mean of all is 0.4
        logps = torch.tensor(rewards)
        DPOTrainer.dpo_loss(trainer, logps, logps, 0 * logps, 0 * logps, "bco_pair")
        means.append(float(trainer.running.mean))
    return means


@library.fact(
    "WPO's weights are switched off, whatever use_weighting says.",
    objective="wpo",
    topic="wpo_weight",
    gives=[True, False],
)
def wpo_is_off() -> Any:
    from swift.rlhf_trainers import DPOTrainer

    given = {"precompute_ref_log_probs": False, "label_smoothing": 0.0, "loss_type": "sigmoid", "loss_weights": None}
    arguments, trainer = SimpleNamespace(use_weighting=True, **given), DPOTrainer.__new__(DPOTrainer)
    with suppress(KeyError):  # of the template, which is asked for after that
        trainer.__init__(args=arguments)
    return [arguments.use_weighting, trainer.use_weighting]


@library.fact(
    "A DPO trainer refuses `kto_pair`.", objective="kto", topic="kto_in_dpo",
    gives="Support for kto_pair has been removed in DPOTrainer. Please use KTOTrainer.",
)  # fmt: skip
def kto_pair() -> Any:
    from swift.rlhf_trainers import DPOTrainer

    given = {"precompute_ref_log_probs": False, "label_smoothing": 0.0, "loss_type": "kto_pair", "loss_weights": None}
    try:
        DPOTrainer(args=SimpleNamespace(**given))
    except ValueError as error:
        return str(error)
    return ""


@library.fact(
    "The mean log-prob of a completion without tokens is 0 in the IPO of DPOTrainer.", topic="empty_mean", gives=0.0
)
def empty_mean() -> Any:
    import torch
    from swift.rlhf_trainers import DPOTrainer

    return DPOTrainer._get_ipo_sequence_logps(torch.tensor([0.0]), torch.tensor([0])).item()


@library.fact(
    "The mean log-prob of a completion without tokens is NaN in CPOTrainer (SimPO) and ORPOTrainer.", topic="empty_mean",
    gives=[float("nan"), float("nan")],
)  # fmt: skip
def empty_mean_of_simpo() -> Any:
    import torch
    from swift.rlhf_trainers import CPOTrainer, ORPOTrainer

    none = torch.zeros(1, 2, 2), torch.full((1, 2), -100)
    return [kind.get_batch_logps(*none, average_log_prob=True).item() for kind in (CPOTrainer, ORPOTrainer)]


@library.fact(
    "`rlhf_type simpo` is SimPO with β = 2, γ = 1, and the NLL of chosen with weight 1 beside it.", objective="simpo",
    topic="simpo_nll", gives=[2.0, 1, 1.0],
)  # fmt: skip
def simpo_defaults() -> Any:
    from swift.arguments import RLHFArguments

    given = SimpleNamespace(rlhf_type="simpo", loss_type=None, beta=RLHFArguments.beta)
    RLHFArguments._init_simpo(given)
    return [given.beta, RLHFArguments.simpo_gamma, RLHFArguments.cpo_alpha]


@library.fact(
    "The reference point of KTO is the mean of the ranks' means, then 0 where that is negative.",
    objective="kto", topic="kto_baseline", gives=0.0,
)  # fmt: skip
def kto_baseline() -> Any:
    import torch
    from swift.rlhf_trainers import KTOTrainer

    ranks = SimpleNamespace(device="cpu", gather_for_metrics=lambda kl: torch.stack([kl, torch.tensor(1.0)]))
    trainer = SimpleNamespace(
        calculate_KL=True, loss_type="kto", beta=0.1, accelerator=ranks, desirable_weight=1.0, undesirable_weight=1.0
    )
    x = torch.zeros(1)
    return KTOTrainer.kto_loss(trainer, x, x, torch.tensor([-3.0, -1.0]), x, x, torch.zeros(2))[3].item()


@library.fact(
    "A KTO loss that is NaN is left out of the mean over the batch.", objective="kto", topic="kto_reduction", gives=2.0
)
def kto_reduction() -> Any:
    import torch
    from swift.rlhf_trainers import KTOTrainer

    x, losses = torch.zeros(1), torch.tensor([float("nan"), 1.0, 3.0])
    trainer = SimpleNamespace(
        args=SimpleNamespace(use_liger_kernel=False), forward=lambda *_: (x, x, x, x, x), ref_model=None, model=None,
        kto_loss=lambda *_: (losses, x, x, x), aux_loss_enabled=False, null_ref_context=nullcontext,
        accelerator=SimpleNamespace(device="cpu", gather_for_metrics=lambda x: x),
    )  # fmt: skip
    return KTOTrainer.get_batch_loss_metrics(trainer, None, {"label": [True, True, False]})[0].item()


@library.fact(
    "With accumulation the loss is the mean of the micro-batches' means; that of all pairs where they are packed.",
    topic="accumulation", gives=[2.0, 2.5],
)  # fmt: skip
def accumulation() -> Any:
    import torch
    from swift.rlhf_trainers import DPOTrainer

    trainer = SimpleNamespace(
        args=SimpleNamespace(rpo_alpha=None), loss_type="sigmoid", use_weighting=False, aux_loss_enabled=False,
        compute_ref_log_probs=lambda _: (None, None), accelerator=SimpleNamespace(gather_for_metrics=lambda x: x),
        concatenated_forward=lambda *_: defaultdict(lambda: torch.zeros(1)),
    )  # fmt: skip
    found = []
    for pair_loss_scale in (None, 2 / 4):  # as compute_loss has it for packed rows: micro-batches over all pairs
        means = []
        for losses in (torch.tensor([1.0]), torch.tensor([2.0, 3.0, 4.0])):
            trainer.dpo_loss = lambda *_, losses=losses: (losses, losses, losses)
            means.append(DPOTrainer.get_batch_loss_metrics(trainer, None, {}, "train", pair_loss_scale)[0].item())
        found.append(sum(means) / 2)
    return found


@library.fact(
    "A reward model has the margin of its column, and center_rewards_coefficient times the mean squared sum of scores.",
    objective="bradley_terry", topic="reward_model", gives=2.974077,
)  # fmt: skip
def reward_model() -> Any:
    import torch
    from swift.rlhf_trainers import RewardTrainer

    metrics: Any = defaultdict(lambda: defaultdict(lambda: SimpleNamespace(update=lambda _: None)))
    arguments = SimpleNamespace(center_rewards_coefficient=0.1)
    trainer = SimpleNamespace(args=arguments, custom_metrics=metrics, model=SimpleNamespace(training=True))
    scores = lambda **_: SimpleNamespace(logits=torch.tensor([[3.0], [2.0]]))  # noqa: E731
    pair = {"attention_mask": torch.ones(2, 1), "margin": torch.tensor([0.5])}
    return RewardTrainer.compute_loss(trainer, scores, pair).item()  # -log σ(3 - 2 - 0.5) + 0.1 (3 + 2)²


@library.fact(
    "A batch has its chosen rows, then its rejected ones.", topic="layout", gives=[[-1.0, -2.0], [-3.0, -4.0]]
)
def layout() -> Any:
    import torch
    from swift.rlhf_trainers import DPOTrainer

    rows = torch.tensor([[-1.0], [-2.0], [-3.0], [-4.0]])
    trainer = SimpleNamespace(
        get_use_logits_to_keep=lambda _: False, aux_loss_enabled=False, is_encoder_decoder=False, label_pad_token_id=-100,
        template=SimpleNamespace(sequence_parallel_size=1, padding_free=False), args=SimpleNamespace(ld_alpha=None),
        get_per_token_logps=lambda *_, **__: (rows, rows, rows < 0),
    )  # fmt: skip
    model = lambda **_: SimpleNamespace(logits=rows[:, :, None])  # noqa: E731
    found = DPOTrainer.concatenated_forward(trainer, model, {"labels": torch.zeros(4, 1)})
    return [found[side].tolist() for side in ("chosen_logps", "rejected_logps")]


@library.log_probs("DPOTrainer.get_per_token_logps", logits=True)
def _log_probs() -> Callable[..., Any]:
    from swift.rlhf_trainers import DPOTrainer

    trainer = SimpleNamespace(template=SimpleNamespace(sequence_parallel_size=1))
    return lambda logits, targets: DPOTrainer.get_per_token_logps(trainer, logits[None] + 0, targets[None])[0][0]
