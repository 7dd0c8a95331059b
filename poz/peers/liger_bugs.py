"""Liger-Kernel: what it gets wrong, on the smallest input that shows it."""

from typing import Any

from poz.peers._library import Library

library = Library("Liger", "liger-kernel")


@library.fact(
    "`sigmoid` ignores label_smoothing",
    gives=0.3132617,
    right=0.8132617,
    because="The docstring has label_smoothing for cDPO: half of softplus(-1) and half of softplus(1).",
    objective="dpo",
)
def dpo_label_smoothing() -> Any:
    """A margin of 1, and half of the labels flipped."""
    import torch
    from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction

    chosen, rejected, target = torch.tensor([0.0]), torch.tensor([-1.0]), torch.zeros(2, 1)
    loss, *_ = LigerFusedLinearDPOFunction.preference_loss_fn(
        chosen, rejected, target, beta=1.0, loss_type="sigmoid", label_smoothing=0.5
    )
    return loss.item()


@library.fact(
    "ORPO of a chosen completion that is certain has a loss of 0 and a gradient of NaN",
    gives=float("nan"),
    right=-0.1581977,
    because="The term is beta * log(1 + odds(rejected) / odds(chosen)): its slope at log p = 0 is -beta * odds(rejected).",
    objective="orpo",
)
def orpo_certain() -> Any:
    """The slope where the chosen token has probability 1 and the rejected one exp(-0.49), odds of 1.58."""
    import torch
    from liger_kernel.chunked_loss.orpo_loss import LigerFusedLinearORPOFunction

    chosen, rejected = torch.zeros(1, requires_grad=True), torch.tensor([-0.49])
    loss, *_ = LigerFusedLinearORPOFunction.preference_loss_fn(chosen, rejected, torch.zeros(2, 1), beta=0.1)
    return torch.autograd.grad(loss, chosen)[0].item()


@library.fact(
    "`discopop` is NaN in float32 where the pair is misjudged by more than 88.7 nats over β",
    gives=float("nan"),
    right=90.0,
    because="exp(90) is infinite in float32, and its weight sigmoid(-90 / 0.05) is 0: the loss is softplus(90).",
    objective="discopop",
)
def discopop_overflow() -> Any:
    """A margin of -90."""
    import torch
    from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction

    chosen, rejected, target = torch.tensor([-90.0]), torch.tensor([0.0]), torch.zeros(2, 1)
    loss, *_ = LigerFusedLinearDPOFunction.preference_loss_fn(chosen, rejected, target, beta=1.0, loss_type="discopop")
    return loss.item()


@library.fact(
    "A completion whose tokens are all masked makes the loss of the whole batch NaN, where means are taken",
    gives=float("nan"),
    right=0.9740769,
    because="A sum over no tokens is 0, and its mean too where the count is at least 1: softplus(gamma) for both ties.",
    topic="empty_mean",
    objective="simpo",
)
def simpo_masked_row() -> Any:
    """Two pairs of one token each of probability 1/2; the rejected one of the second is cut off, its chosen one too."""
    import torch
    from liger_kernel.chunked_loss import LigerFusedLinearSimPOLoss

    target = torch.tensor([[0], [-100], [0], [-100]])  # chosen, chosen, rejected, rejected
    loss = LigerFusedLinearSimPOLoss(compute_nll_loss=False, compiled=False)
    return loss(torch.zeros(2, 2), torch.zeros(4, 1, 2), target)[0].item()


@library.fact(
    "Under torch.no_grad() the preference losses compute the gradients of every chunk",
    gives=2,
    right=0,
    because="Nothing is differentiated under torch.no_grad(); weight.requires_grad is asked, which says nothing about that.",
    objective="dpo",
)
def gradients_without_grad() -> Any:
    """How often torch.func.grad_and_value is called for two pairs in two chunks."""
    from unittest.mock import patch

    import torch
    from liger_kernel.chunked_loss import LigerFusedLinearDPOLoss

    weight, loss = torch.nn.Parameter(torch.zeros(2, 2)), LigerFusedLinearDPOLoss(use_ref_model=False, compiled=False)
    with torch.no_grad(), patch("torch.func.grad_and_value", wraps=torch.func.grad_and_value) as differentiate:
        loss(weight, torch.zeros(4, 1, 2), torch.zeros(4, 1, dtype=torch.int64))
    return differentiate.call_count


@library.fact(
    "The gradient of a bfloat16 head is added up over chunks in bfloat16",
    gives=256 / 272,
    right=1.0,
    because="The gradient is a sum over pairs, whatever the chunks: 271, which is 272 in bfloat16, where 256 + 1 is 256.",
    objective="dpo",
)
def bfloat16_accumulator() -> Any:
    """A head's gradient from 16 pairs, one of 256 and 15 of 1: one pair to a chunk, as by default, beside all in one."""
    import torch
    from liger_kernel.chunked_loss import LigerFusedLinearDPOLoss

    hidden = torch.tensor(([256.0] + [1.0] * 15) * 2, dtype=torch.bfloat16)[:, None, None]
    target, slopes = torch.tensor([[0]] * 16 + [[1]] * 16), []
    for size in (1, 16):
        weight = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
        loss = LigerFusedLinearDPOLoss(beta=1.0, use_ref_model=False, compiled=False, chunk_size=size)
        slopes.append(torch.autograd.grad(loss(weight, hidden, target)[0], weight)[0][0].item())
    return slopes[0] / slopes[1]


@library.fact(
    "LigerORPOTrainer cannot be imported beside TRL 1.x, since it looks for trl.trainer.ORPOTrainer; it asks for TRL",
    gives="Please `pip install trl` to use LigerORPOTrainer",
    right="imported",
    because="TRL is installed, and has ORPOTrainer in trl.experimental.orpo.",
    objective="orpo",
)
def orpo_trainer_import() -> Any:
    """What the import says."""
    import trl  # noqa: F401

    try:
        from liger_kernel.transformers.trainer import LigerORPOTrainer

        LigerORPOTrainer()
    except ImportError as error:
        return str(error)
    except TypeError:  # it wants a model
        return "imported"


@library.fact(
    "`luspo` gives padding a gradient, at the level of tokens, or with a KL",
    gives=[-0.5, 0.01264241],
    right=[0.0, 0.0],
    because="The attention mask leaves the second token out, so its log-prob is none of the loss.",
    objective="luspo",
)
def luspo_padding() -> Any:
    """Slopes of the padding of one completion of one token, with an advantage of 1; the KL is to a log-prob of -2."""
    import torch
    from liger_kernel.chunked_loss.grpo_loss import LigerFusedLinearGRPOFunction

    mask, ref, slopes = torch.tensor([[1.0, 0.0]]), torch.full((1, 2), -2.0), []
    for level, beta in (("token", 0.0), ("sequence", 0.04)):
        logps = torch.full((1, 2), -1.0, requires_grad=True)
        loss, _ = LigerFusedLinearGRPOFunction.ppo_loss_fn(
            logps, mask, torch.ones(1), mask, ref, beta=beta, loss_type="luspo", importance_sampling_level=level
        )
        slopes.append(torch.autograd.grad(loss, logps)[0][0, 1].item())
    return slopes


@library.fact(
    "A clipped token whose ratio is infinite in float32 has a gradient of NaN",
    gives=[-1.2, float("nan")],
    right=[-1.2, 0.0],
    because="The ratio is clipped at 1.2, so the loss is -1.2 whatever the log-prob, and its slope is 0.",
    objective="ppo_clip",
)
def infinite_ratio() -> Any:
    """Loss and slope of a token whose log-prob rose from -90 to -1, with an advantage of 1."""
    import torch
    from liger_kernel.chunked_loss.grpo_loss import LigerFusedLinearGRPOFunction

    logps, old, mask = torch.full((1, 1), -1.0, requires_grad=True), torch.full((1, 1), -90.0), torch.ones(1, 1)
    loss, _ = LigerFusedLinearGRPOFunction.ppo_loss_fn(
        logps, mask, torch.ones(1), mask, old_per_token_logps=old, beta=0.0, loss_type="bnpo"
    )
    return [loss.item(), torch.autograd.grad(loss, logps)[0].item()]
