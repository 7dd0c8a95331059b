"""ms-swift: what its trainers do on one small input, and their log-probs."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from poz.peers._library import Library

library = Library("ms-swift", "ms-swift")
NO_MEGATRON = ["megatron", "megatron.core", "megatron.core.utils", "swift.megatron.trainers.rlhf_mixin"]


class _Empty(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _with_megatron(call: Callable[[], Any]) -> Callable[[], Any]:
    """Megatron, which needs a GPU, as empty modules while the function runs."""

    @functools.wraps(call)
    def run() -> Any:
        import swift

        folders = {name: ModuleType(name) for name in ("swift.megatron", "swift.megatron.trainers")}
        for name, module in folders.items():
            module.__path__ = [f"{swift.__path__[0]}/{name.removeprefix('swift.').replace('.', '/')}"]
        with patch.dict(sys.modules, {name: _Empty(name) for name in NO_MEGATRON} | folders):
            return call()

    return run


@library.fact(
    "Megatron DPO trains `sigmoid` whatever loss_type it is given.", objective="ipo", topic="ipo_sum_or_mean",
    gives=[0.5981389, 0.5981389], right=[0.8, 9.0],
    because="Chosen is 2 nats better than rejected, beside the reference: a hinge of 1 - 0.1 * 2, and (2 - 1 / (2 * 0.1))².",
    link="MegatronDPOTrainer.loss_func, which calls dpo_loss without a loss_type; modelscope/ms-swift#10167",
)  # fmt: skip
@_with_megatron
def megatron_ignores_loss_type() -> Any:
    import torch
    from swift.megatron.trainers import dpo_trainer

    dpo_trainer.mpu.get_context_parallel_world_size = lambda: 1
    trainer, losses = dpo_trainer.MegatronDPOTrainer.__new__(dpo_trainer.MegatronDPOTrainer), []
    trainer.get_logps, trainer._all_reduce_metric = lambda rows, *_: -rows.sum(-1), lambda metric: metric
    rows = torch.tensor([[2.0], [2.0], [1.0], [3.0]])  # NLLs: the reference's chosen and rejected, the policy's
    for loss_type in ("hinge", "ipo"):
        given = {
            "loss_type": loss_type,
            "beta": 0.1,
            "label_smoothing": 0.0,
            "reference_free": False,
            "rpo_alpha": None,
        }
        trainer.args = SimpleNamespace(**given, f_divergence_type="reverse_kl")
        trainer.dummy_dpo_trainer = dpo_trainer.DummyDPOTrainer(trainer.args)
        losses.append(trainer.loss_func(rows, labels=torch.zeros(2, 1), packed_seq_params=None)[0].item())
    return losses


@library.fact(
    "After `exo_pair` with label_smoothing=0 the other losses of a list are smoothed with 1e-3.", objective="exo",
    topic="exo_zero", gives=[0.5981389, 0.5983389], right=[0.5981389, 0.5981389],
    because="Nothing was said about smoothing, and the same sigmoid loss of the same pair is asked for twice.",
    link="DPOTrainer.dpo_loss, which writes self.label_smoothing",
)  # fmt: skip
def exo_smooths_others() -> Any:
    import torch
    from swift.rlhf_trainers import DPOTrainer

    trainer = SimpleNamespace(
        beta=0.1, label_smoothing=0.0, f_divergence_type="reverse_kl", reference_free=False,
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    pair, kinds = [torch.tensor([x]) for x in (-1.0, -3.0, -2.0, -2.0)], ("sigmoid", "exo_pair", "sigmoid")
    losses = [DPOTrainer.dpo_loss(trainer, *pair, loss_type)[0].item() for loss_type in kinds]
    return losses[::2]


@library.fact(
    "f_divergence_type `forward_kl`, or any name that it does not know, is silently the reverse KL.",
    objective="f_dpo", topic="f_dpo_alpha", gives=0.5981389, right=0.5777163,
    because="f'(u) of the forward KL is -1/u, so that the loss is -log σ(0.1 (e^1 - e^-1)) of log-ratios 1 and -1.",
    link="DPOTrainer.dpo_loss, which has branches for alpha_divergence and js_divergence alone",
)  # fmt: skip
def forward_kl_is_reverse() -> Any:
    import torch
    from swift.rlhf_trainers import DPOTrainer

    trainer = SimpleNamespace(
        beta=0.1, label_smoothing=0.0, f_divergence_type="forward_kl", reference_free=False,
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    pair = [torch.tensor([x]) for x in (-1.0, -3.0, -2.0, -2.0)]
    return DPOTrainer.dpo_loss(trainer, *pair)[0].item()


@library.fact(
    "DiscoPOP is NaN in float32 where β times the log-ratio is below -88.7.", objective="discopop", topic="discopop_tau",
    gives=float("nan"), right=100.0,
    because="The weight of the exponential is σ(-100 / 0.05), 0 in all digits, and the logistic loss is 100.",
    link="DPOTrainer.dpo_loss",
)  # fmt: skip
def discopop_overflows() -> Any:
    import torch
    from swift.rlhf_trainers import DPOTrainer

    trainer = SimpleNamespace(
        beta=1.0, label_smoothing=0.0, f_divergence_type="reverse_kl", reference_free=False,
        accelerator=SimpleNamespace(device="cpu"), args=SimpleNamespace(discopop_tau=0.05),
    )  # fmt: skip
    pair = [torch.tensor([x]) for x in (-101.0, -1.0, -1.0, -1.0)]
    return DPOTrainer.dpo_loss(trainer, *pair, "discopop")[0].item()


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
    "A reward model has the margin of its column, and center_rewards_coefficient times the mean squared sum of scores.",
    objective="bradley_terry", topic="reward_model", gives=2.974077,
)  # fmt: skip
def reward_model() -> Any:
    from collections import defaultdict

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
