"""TRL's losses on pairs: defaults, and what they do on one small input."""

from typing import Any

from poz.peers._library import Library

library = Library("TRL", "trl", since="1.14")


@library.fact(
    "DPOConfig has β = 0.1 for every loss, `sigmoid_norm` too", gives=0.1, topic="ln_dpo_beta", objective="ln_dpo"
)
def trl_ln_dpo_beta() -> Any:
    """Tülu 3 has 5."""
    from trl import DPOConfig

    return DPOConfig.beta


@library.fact("DPOConfig has τ = 0.05 for `discopop`", gives=0.05, topic="discopop_tau", objective="discopop")
def trl_discopop_tau() -> Any:
    """As the paper."""
    from trl import DPOConfig

    return DPOConfig.discopop_tau


@library.fact(
    "CPOConfig has β = 0.1 and γ = 0.5 for `simpo`: a margin γ/β of 5 nats per token", gives=[0.1, 0.5],
    topic="simpo_margin", objective="simpo",
)  # fmt: skip
def trl_simpo_defaults() -> Any:
    """The authors' β is 2 to 10."""
    from trl.experimental.cpo import CPOConfig

    return [CPOConfig.beta, CPOConfig.simpo_gamma]


@library.fact(
    "CPOConfig has cpo_alpha = 1 for every loss, so `simpo` has the NLL of chosen beside it", gives=1.0,
    topic="simpo_nll", objective="simpo",
)  # fmt: skip
def trl_simpo_nll() -> Any:
    """The weight of the NLL."""
    from trl.experimental.cpo import CPOConfig

    return CPOConfig.cpo_alpha


@library.fact("ORPOConfig has λ = 0.1, called beta", gives=0.1, topic="orpo_weight", objective="orpo")
def trl_orpo_weight() -> Any:
    """λ."""
    from trl.experimental.orpo import ORPOConfig

    return ORPOConfig.beta


@library.fact(
    "TPOConfig has β = 0.01, α = 1 and γ = 0.5", gives=[0.01, 1.0, 0.5], topic="tpo_defaults", objective="tpo"
)
def trl_tpo_defaults() -> Any:
    """β, α and the margin of TPO-L."""
    from trl.experimental.tpo import TPOConfig

    return [TPOConfig.beta, TPOConfig.tpo_alpha, TPOConfig.tpo_l_gamma]


@library.fact(
    "The weights of KTOConfig are 1 and 1, and each multiplies the losses of its class", gives=[1.0, 1.0],
    topic="kto_weights", objective="kto",
)  # fmt: skip
def trl_kto_weights() -> Any:
    """λ_D and λ_U."""
    from trl import KTOConfig

    return [KTOConfig.desirable_weight, KTOConfig.undesirable_weight]


@library.fact(
    "ORPO's NLL is of the prompt's tokens too, per token of the batch", gives=[1.386294, 0.693147], topic="orpo_nll",
    objective="orpo",
)  # fmt: skip
def trl_orpo_nll() -> Any:
    """A prompt token of probability 1/8 and a completion token of 1/2: NLL, and the mean log-prob's size."""
    from unittest.mock import MagicMock

    import torch
    from trl.experimental.orpo import ORPOTrainer

    ids, ones = torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.long)
    labels = torch.tensor([[-100, -100, 0]] * 2)
    trainer = MagicMock(is_encoder_decoder=False, aux_loss_enabled=False, get_batch_logps=ORPOTrainer.get_batch_logps)
    names = ("input_ids", "attention_mask", "labels")
    rows = {f"concatenated_{name}": x for name, x in zip(names, (ids, ones, labels), strict=True)}
    trainer.concatenated_inputs.return_value = rows
    logits = torch.tensor([[1 / 8, 7 / 8], [1 / 2, 1 / 2], [1 / 2, 1 / 2]]).log().expand(2, 3, 2)
    batch = {"chosen_labels": labels[:1]}
    forward: Any = ORPOTrainer.concatenated_forward
    found = forward(trainer, lambda *_, **__: MagicMock(logits=logits), batch)
    return [found[4].item(), -found[0].item()]


@library.fact(
    "Rows of a batch are the chosen completions, then the rejected ones", gives=[11, 12, 21, 22], topic="layout"
)
def trl_layout() -> Any:
    """The completions' first tokens, of two pairs."""
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    pairs = [{"prompt_ids": [1], "chosen_ids": [10 + pair], "rejected_ids": [20 + pair]} for pair in (1, 2)]
    return DataCollatorForPreference(pad_token_id=0)(pairs)["input_ids"][:, 1].tolist()


@library.fact(
    "RewardTrainer subtracts the margin, and adds c times the squared sum of both scores", gives=[0.474077, 1.374077],
    topic="reward_model", objective="bradley_terry",
)  # fmt: skip
def trl_reward() -> Any:
    """Scores of 2 and 1, a margin of 1/2: softplus(-1/2); then 0.1 times 9 beside it."""
    from unittest.mock import MagicMock

    import torch
    from trl import RewardTrainer

    losses = []
    for weight in (None, 0.1):
        trainer = MagicMock(**{"args.center_rewards_coefficient": weight})
        trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda x: x
        model = MagicMock(**{"return_value.logits": torch.tensor([[2.0], [1.0]])})
        batch = {"attention_mask": torch.ones(2, 2), "margin": torch.tensor([0.5])}
        losses.append(RewardTrainer.compute_loss(trainer, model, batch).item())
    return losses
