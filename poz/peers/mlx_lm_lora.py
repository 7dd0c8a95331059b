"""mlx-lm-lora: the losses of its DPO trainer, on which side they are and where they are wrong; MLX has no backend here."""

from typing import Any

from poz.peers._library import Library

library = Library("mlx-lm-lora", "mlx-lm-lora")


@library.fact(
    "`dpop` adds its penalty to the loss, outside of the sigmoid",
    gives=5.6931472,
    right=3.0485874,
    because="DPOP is -log σ(β (h - λ max(0, log π_ref(y_w) - log π(y_w)))): the penalty fades once the pair is won.",
    objective="dpop",
)
def dpop_penalty() -> Any:
    """Both completions one nat less likely than under the reference; β = 0.6, δ = 5."""
    import mlx.core as mx
    from mlx_lm_lora.trainer.dpo_trainer import dpo_loss

    one, masks = mx.array([-1.0]), mx.ones((1, 2))
    return dpo_loss(one, one, 0 * one, 0 * one, masks, masks, beta=0.6, delta=5.0, loss_type="dpop")[0].item()


@library.fact("DPO's loss has no label smoothing", gives=0.3132617, objective="dpo", topic="dpo_smoothing")
def dpo() -> Any:
    """A margin of 1, β = 1."""
    import mlx.core as mx
    from mlx_lm_lora.trainer.dpo_trainer import dpo_loss

    one, masks = mx.array([1.0]), mx.ones((1, 2))
    return dpo_loss(one, 0 * one, 0 * one, 0 * one, masks, masks, beta=1.0, delta=0.0)[0].item()


@library.fact(
    "IPO takes means per token, the length at least 1",
    gives=[-2.0, -4.0, 0.0],
    objective="ipo",
    topic="ipo_sum_or_mean",
)
def ipo_scores() -> Any:
    """Two tokens of -2 each, as `ipo` and as the others have them, and no token as `ipo` has it."""
    import mlx.core as mx
    from mlx_lm_lora.trainer.dpo_trainer import compute_score

    tokens, mask = mx.array([[-2.0, -2.0]]), mx.ones((1, 3))  # of the mask the first is the prompt
    each = [(tokens, mask, "ipo"), (tokens, mask, "sigmoid"), (0 * tokens, 0 * mask, "ipo")]
    return [compute_score(*one).item() for one in each]
