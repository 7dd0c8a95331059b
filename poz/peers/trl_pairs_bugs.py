"""TRL's losses on pairs: what they get wrong, on the smallest input that shows it.

A trainer is a mock where its loss asks for nothing but attributes, and a model gives the log-probs that are written here.
"""

from typing import Any

from poz.peers._library import Library

library = Library("TRL", "trl", since="1.14")


@library.fact(
    "`sigmoid` takes label_smoothing, which is documented for `robust` and `exo_pair`, and ignores it without a warning",
    gives=0.3132617,
    right=0.8132617,
    because="cDPO with half of the labels flipped is half of softplus(-1) and half of softplus(1); `aot` and CPO apply it.",
    topic="dpo_smoothing",
    objective="dpo",
)
def trl_dpo_label_smoothing() -> Any:
    """A margin of 1, and half of the labels flipped."""
    from unittest.mock import MagicMock

    import torch
    from trl import DPOTrainer

    settings = {"loss_types": ["sigmoid"], "loss_weights": [1.0], "beta": 1.0, "label_smoothing": 0.5}
    trainer = MagicMock(
        **settings, f_divergence_type="reverse_kl", ld_alpha=None, use_weighting=False, aux_loss_enabled=False
    )
    trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda x: x
    logps, ones = (
        torch.tensor([[-1.0], [-2.0]]),
        torch.ones(2, 2, dtype=torch.long),
    )  # one token of chosen, one of rejected
    outputs = MagicMock(log_probs=logps, entropy=logps, mean_logits=logps, is_top1=ones[:, 1:] > 0)
    trainer._get_per_token_logps_and_entropies.return_value = logps, logps, outputs  # before 1.15
    batch = dict.fromkeys(("input_ids", "attention_mask", "completion_mask"), ones)
    batch |= dict.fromkeys(("ref_chosen_logps", "ref_rejected_logps"), torch.zeros(1))
    return DPOTrainer._compute_loss(trainer, lambda **_: outputs, batch, False).item()


@library.fact(
    "`sft` with use_weighting raises where a batch has two pairs",
    gives="RuntimeError",
    right=0.1839397,
    because="The weights are exp(-1) of the one pair and 0 of the other, and the mean NLL is 1: 1/2 e^-1.",
    objective="sft",
)
def trl_sft_weighting() -> Any:
    """Two pairs of one token each; the chosen tokens have probability 1/e, the rejected ones 1 and e^-1000."""
    from unittest.mock import MagicMock

    import torch
    from trl import DPOTrainer
    from trl.trainer.utils import add_fused_lm_head  # noqa: F401 # since 1.15 a model gives log-probs

    settings = {"loss_types": ["sft"], "loss_weights": [1.0], "beta": 1.0, "use_weighting": True}
    trainer = MagicMock(**settings, f_divergence_type="reverse_kl", ld_alpha=None, aux_loss_enabled=False)
    trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda x: x
    logps, ones = torch.tensor([[-1.0], [-1.0], [0.0], [-1000.0]]), torch.ones(4, 2, dtype=torch.long)
    zero, top = torch.zeros(4, 1), ones[:, 1:] > 0
    outputs = MagicMock(log_probs=logps, entropy=logps, mean_logits=logps, is_top1=top, log_sum_sq_probs=zero)
    batch = dict.fromkeys(("input_ids", "attention_mask", "completion_mask"), ones)
    batch |= dict.fromkeys(("ref_chosen_logps", "ref_rejected_logps"), torch.zeros(2))
    try:
        return DPOTrainer._compute_loss(trainer, lambda **_: outputs, batch, False).item()
    except RuntimeError as error:
        return type(error).__name__


@library.fact(
    "`discopop` is NaN in float32 where the pair is misjudged by more than 88.7 nats over β",
    gives=float("nan"),
    right=90.0,
    because="exp(90) is infinite in float32, and its weight sigmoid(-90 / 0.05) is 0: the loss is softplus(90).",
    objective="discopop",
)
def trl_discopop_overflow() -> Any:
    """A margin of -90."""
    from unittest.mock import MagicMock

    import torch
    from trl import DPOTrainer

    settings = {"loss_types": ["discopop"], "loss_weights": [1.0], "beta": 1.0, "args.discopop_tau": 0.05}
    trainer = MagicMock(
        **settings, f_divergence_type="reverse_kl", ld_alpha=None, use_weighting=False, aux_loss_enabled=False
    )
    trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda x: x
    logps, ones = torch.tensor([[-91.0], [-1.0]]), torch.ones(2, 2, dtype=torch.long)
    outputs = MagicMock(log_probs=logps, entropy=logps, mean_logits=logps, is_top1=ones[:, 1:] > 0)
    trainer._get_per_token_logps_and_entropies.return_value = logps, logps, outputs  # before 1.15
    batch = dict.fromkeys(("input_ids", "attention_mask", "completion_mask"), ones)
    batch |= dict.fromkeys(("ref_chosen_logps", "ref_rejected_logps"), torch.zeros(1))
    return DPOTrainer._compute_loss(trainer, lambda **_: outputs, batch, False).item()


@library.fact(
    "`alpha_divergence` raises in float64",
    gives="KeyError",
    right=0.1113252,
    because="With α = 1/2 the scores of log-ratios -1 and -2 are -2 (e^(1/2) - 1) and -2 (e - 1), as in float32.",
    objective="f_dpo",
)
def trl_alpha_float64() -> Any:
    """Log-ratios of -1 and -2."""
    from unittest.mock import MagicMock

    import torch
    from trl import DPOTrainer

    settings = {"loss_types": ["sigmoid"], "loss_weights": [1.0], "beta": 1.0, "f_alpha_divergence_coef": 0.5}
    trainer = MagicMock(
        **settings, f_divergence_type="alpha_divergence", ld_alpha=None, use_weighting=False, aux_loss_enabled=False
    )
    trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda x: x
    logps, ones = torch.tensor([[-1.0], [-2.0]], dtype=torch.float64), torch.ones(2, 2, dtype=torch.long)
    outputs = MagicMock(log_probs=logps, entropy=logps, mean_logits=logps, is_top1=ones[:, 1:] > 0)
    trainer._get_per_token_logps_and_entropies.return_value = logps, logps, outputs  # before 1.15
    batch = dict.fromkeys(("input_ids", "attention_mask", "completion_mask"), ones)
    batch |= dict.fromkeys(("ref_chosen_logps", "ref_rejected_logps"), torch.zeros(1, dtype=torch.float64))
    try:
        return DPOTrainer._compute_loss(trainer, lambda **_: outputs, batch, False).item()
    except KeyError as error:
        return type(error).__name__


@library.fact(
    "`ipo` and `sigmoid_norm` count the first token of a row, where it is of the completion, which has no log-prob",
    gives=0.474077,
    right=0.3132617,
    because="The one token that has a log-prob has a log-ratio of -1 of chosen and -2 of rejected: softplus(-1).",
    topic="ipo_length",
    objective="ln_dpo",
)
def trl_first_token() -> Any:
    """No prompt: two completion tokens, and log-probs of the second alone."""
    from unittest.mock import MagicMock

    import torch
    from trl import DPOTrainer

    trainer = MagicMock(loss_types=["sigmoid_norm"], loss_weights=[1.0], beta=1.0, f_divergence_type="reverse_kl")
    trainer.configure_mock(ld_alpha=None, use_weighting=False, aux_loss_enabled=False)
    trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda x: x
    logps, ones = torch.tensor([[-1.0], [-2.0]]), torch.ones(2, 2, dtype=torch.long)
    outputs = MagicMock(log_probs=logps, entropy=logps, mean_logits=logps, is_top1=ones[:, 1:] > 0)
    trainer._get_per_token_logps_and_entropies.return_value = logps, logps, outputs  # before 1.15
    batch = dict.fromkeys(("input_ids", "attention_mask", "completion_mask"), ones)
    batch |= dict.fromkeys(("ref_chosen_logps", "ref_rejected_logps"), torch.zeros(1))
    return DPOTrainer._compute_loss(trainer, lambda **_: outputs, batch, False).item()


@library.fact(
    "ORPO's `log1mexp` has a gradient of NaN where its value is finite",
    gives=[-18.42068, float("nan")],
    right=[-18.42068, -1e8],
    because="log(1 - e^x) has slope -e^x / (1 - e^x), which is -1e8 at x = -1e-8; the branch that is not taken gives 0 * inf.",
    link="https://github.com/huggingface/trl/pull/4763",
    objective="orpo",
)
def trl_orpo_log1mexp() -> Any:
    """Value and slope at x = -1e-8, the mean log-prob of a completion that is nearly certain."""
    import torch
    from trl.experimental.orpo.orpo_trainer import log1mexp

    x = torch.tensor(-1e-8, requires_grad=True)
    value = log1mexp(x)
    value.backward()
    return [value.item(), x.grad.item()]


@library.fact(
    "CPO with alpha is NaN in float32 where both log-probs are below -103 nats, as sums are",
    gives=float("nan"),
    right=0.0,
    because="With α = 1/4 the rewards are 4 (1 - e^50) and 4 (1 - e^52.5), so the margin is 1e23; e^-200 is 0 in float32.",
    objective="alpha_po",
)
def trl_alpha_po_underflow() -> Any:
    """Sums of -200 and -210 nats."""
    from unittest.mock import MagicMock

    import torch
    from trl.experimental.cpo import CPOTrainer

    trainer = MagicMock(loss_type="sigmoid", alpha=0.25, beta=0.1, label_smoothing=0.0, **{"accelerator.device": "cpu"})
    losses, *_ = CPOTrainer.cpo_loss(trainer, torch.tensor([-200.0]), torch.tensor([-210.0]))
    return losses.item()


@library.fact(
    "CPO and ORPO are NaN where a completion has no token",
    gives=float("nan"),
    right=0.0,
    because="A sum over no tokens is 0, and its mean too where the count is at least 1, as `ipo` of DPOTrainer has it.",
    topic="empty_mean",
    objective="simpo",
)
def trl_empty_mean() -> Any:
    """A row of a prompt alone."""
    import torch
    from trl.experimental.cpo import CPOTrainer

    logits, labels = torch.zeros(1, 3, 2), torch.full((1, 3), -100)
    return CPOTrainer.get_batch_logps(logits, labels, average_log_prob=True).item()
