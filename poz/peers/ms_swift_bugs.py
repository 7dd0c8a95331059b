"""ms-swift: bugs of its DPO trainers, in the transformers one and in Megatron's."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

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
    """Megatron, which needs a GPU, as empty modules while the function runs; what else it imports stays."""

    @functools.wraps(call)
    def run() -> Any:
        import swift

        modules: dict[str, ModuleType] = {name: _Empty(name) for name in NO_MEGATRON}
        for name in ("swift.megatron", "swift.megatron.trainers"):  # folders, without what their __init__ does to a GPU
            modules[name] = ModuleType(name)
            modules[name].__path__ = [f"{swift.__path__[0]}/{name.removeprefix('swift.').replace('.', '/')}"]
        sys.modules.update(modules)
        try:
            return call()
        finally:
            for name in (*modules, "swift.megatron.trainers.dpo_trainer"):
                sys.modules.pop(name, None)

    return run


@library.fact(
    "Megatron DPO trains `sigmoid` whatever loss_type it is given.", objective="ipo", topic="ipo_sum_or_mean",
    gives=[0.5981389, 0.5981389], right=[0.8, 9.0],
    because="Chosen is 2 nats better than rejected, beside the reference: a hinge of 1 - 0.1 * 2, and (2 - 1 / (2 * 0.1))².",
    link="https://github.com/modelscope/ms-swift/pull/10167",
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
    objective="f_dpo", topic="f_dpo_alpha", gives=0.5981389, right=0.5825167,
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
