"""TRL as it was: running means, and where it was wrong, each as a script of its own."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from poz.peers._library import Absent, Library

library = Library("TRL", "trl", before="1.14")


def _moments() -> Any:
    """A running mean, which had two places."""
    for module in ("trl.experimental.bco.bco_trainer", "trl.trainer.utils"):
        try:
            return import_module(module).RunningMoments(SimpleNamespace(use_distributed=False))
        except (ModuleNotFoundError, AttributeError):
            continue
    raise Absent("RunningMoments went by 1.14")


@library.fact(
    "BCOTrainer's δ is the mean of all rewards so far: after 1, 2 and 3, and then after 8", gives=[2.0, 3.5],
    topic="bco_baseline", objective="bco",
)  # fmt: skip
def bco_running_mean() -> list[float]:
    import torch

    moments, found = _moments(), []
    for rewards in ([1.0, 2.0, 3.0], [8.0]):
        moments.update(torch.tensor(rewards))
        found.append(float(moments.mean))
    return found


@library.fact(
    "`bco_pair` of dpo_loss has the mean of the means of batches for δ: after 1, 2, 3 and 2, and then after 8 and 8",
    gives=[2.0, 5.0], topic="bco_baseline", objective="bco",
)  # fmt: skip
def bco_pair_running_mean() -> list[float]:
    import torch

    trainer: Any = import_module("trl").DPOTrainer
    if not hasattr(trainer, "dpo_loss"):
        raise Absent("dpo_loss went by 0.29")
    plain: Any = import_module("trl.trainer.dpo_config").FDivergenceType.REVERSE_KL
    this = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu"), reference_free=False, beta=1.0, label_smoothing=0.0,
        f_divergence_type=plain, running=_moments(),
    )  # fmt: skip
    found = []
    for chosen, rejected in (([1.0, 2.0], [3.0, 2.0]), ([8.0], [8.0])):
        good, bad = torch.tensor(chosen), torch.tensor(rejected)
        trainer.dpo_loss(this, good, bad, 0 * good, 0 * bad, "bco_pair")
        found.append(float(this.running.mean))
    return found


@library.fact(
    "`exo_pair` with a label_smoothing of 0 writes 1e-3 over it, for the other losses of the list too: what it is afterwards",
    gives=0.001, right=0.0, because="A loss does not change its trainer's settings; `sigmoid` beside it is smoothed then.",
    topic="exo_zero", objective="exo",
)  # fmt: skip
def trl_exo_smooths_the_others() -> float:
    import torch

    trainer: Any = import_module("trl").DPOTrainer
    if not hasattr(trainer, "dpo_loss"):
        raise Absent("dpo_loss went by 0.29")
    plain: Any = import_module("trl.trainer.dpo_config").FDivergenceType.REVERSE_KL
    this = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu"), reference_free=False, beta=1.0, label_smoothing=0.0,
        f_divergence_type=plain,
    )  # fmt: skip
    trainer.dpo_loss(this, *torch.zeros(4, 1), "exo_pair")
    return float(this.label_smoothing)


@library.fact(
    "NashMDTrainer's gradient of the KL lacks what a token does to the KL of later ones: two steps of two tokens each, the first "
    "of logit θ = 0.5 beside 0, the second, where the first was 1, of logit 1 beside -1, else the reference's",
    gives=0.1175019, right=0.2261024,
    because="KL(π||π_ref) is that of the first step plus σ(θ) tanh(1/2), of slope σ'(θ) (θ + tanh(1/2)).",
    objective="nash_md",
)  # fmt: skip
def trl_nash_md_kl_gradient() -> float:
    import torch
    from torch.nn.functional import logsigmoid

    for module in ("trl.experimental.nash_md", "trl.trainer.nash_md_trainer"):
        try:
            function: Any = import_module(module).NashMDTrainer._compute_losses
            break
        except ModuleNotFoundError:
            continue
    else:
        raise Absent("NashMDTrainer went by 1.14")
    theta, expected = torch.tensor(0.5, requires_grad=True), torch.zeros(())
    for a in (0, 1):
        for b in (0, 1):
            logps = logsigmoid(torch.stack([(2 * a - 1) * theta, torch.tensor(float(a * (2 * b - 1)))]))[None]
            reference = logsigmoid(torch.tensor([[0.0, float(-a * (2 * b - 1))]]))
            loss = function(SimpleNamespace(beta=1.0), logps, reference, torch.tensor([0.5]))[0]
            expected = expected + logps.sum().exp().detach() * loss
    return float(torch.autograd.grad(expected, theta)[0])


@library.fact(
    "use_weighting of concatenated_forward sets each token's log-prob beside the next one's log Σ_v π², so that the last token "
    "has no part in the weight, which is capped at 1: two tokens, of logits -2 and -4 beside 0, chosen and rejected alike",
    gives=0.1564127, right=0.002813271,
    because="exp of twice the mean of log π - log Σ_v π² over both tokens, eq. 2 of WPO; tokens and sums are of one position.",
    topic="wpo_weight", objective="wpo",
)  # fmt: skip
def trl_wpo_weight_is_shifted() -> float:
    import torch

    trainer: Any = import_module("trl").DPOTrainer
    if not hasattr(trainer, "concatenated_forward"):
        raise Absent("concatenated_forward went by 0.29")
    this = SimpleNamespace(
        args=SimpleNamespace(ld_alpha=None, rpo_alpha=None), concatenated_inputs=trainer.concatenated_inputs,
        loss_type=["sigmoid"], max_length=None, truncation_mode="keep_end", pad_token_id=0, padding_value=0,
        label_pad_token_id=-100, is_encoder_decoder=False, padding_free=False, use_logits_to_keep=False,
        aux_loss_enabled=False, use_weighting=True,
    )  # fmt: skip
    one, logits = torch.ones(1, 1, dtype=torch.long), torch.tensor([[0.0, -2.0], [0.0, -4.0], [0.0, 0.0]])
    sides = {
        f"{side}_{what}": one.expand(1, 2)
        for side in ("chosen", "rejected")
        for what in ("input_ids", "attention_mask")
    }
    batch = {"prompt_input_ids": one, "prompt_attention_mask": one} | sides
    made = trainer.concatenated_forward(this, lambda *_, **__: SimpleNamespace(logits=logits.repeat(2, 1, 1)), batch)
    return float(made["policy_weights"])
