"""Liger-Kernel: `LigerFusedLinearGRPOLoss`, whose loss of log-probs is called for a whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poz.families import Rollouts
from poz.peers._library import Library

library = Library("Liger", "liger-kernel")
HELD: dict[str, Any] = {"reduction": "mean", "constant": ("old_logps", "ref_logps", "sampler_logps")}


def _loss(batch: Rollouts, **options: Any) -> Any:
    from liger_kernel.chunked_loss.grpo_loss import LigerFusedLinearGRPOFunction

    mask = (batch.logps == batch.logps if batch.mask is None else batch.mask).to(batch.logps)
    return LigerFusedLinearGRPOFunction.ppo_loss_fn(
        batch.logps, mask, batch.advantages, mask, batch.ref_logps, batch.old_logps, **options
    )[0]


def _clipped(token_mean: str = "dapo", **fixed: Any) -> Callable[[], Callable[..., Any]]:
    """Its clipped losses, whose names say how tokens add up."""
    loss_types = {"sequence_mean": "grpo", "token_mean": token_mean, "sequence_sum": "dr_grpo"}

    def make() -> Callable[..., Any]:
        def call(
            batch: Rollouts, *, aggregation: str, epsilon_low: float = 0.2, epsilon_high: float = 0.2,
            length: float = 1.0, kl_weight: float = 0.0, ratio_cap: float | None = None,
        ) -> Any:  # fmt: skip
            options = {"loss_type": loss_types[aggregation], "max_completion_length": length, "beta": kl_weight}
            return _loss(batch, epsilon_low=epsilon_low, epsilon_high=epsilon_high, delta=ratio_cap, **options, **fixed)

        return call

    return make


TABLE: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("grpo", "loss_type='grpo'", {}, {"topic": "kl_estimator"}),
    (
        "grpo",
        "use_bias_correction_kl=True",
        {"use_bias_correction_kl": True},
        {"does": "multiplies the KL by the ratio", "settings": {"kl": "r*k3"}, "topic": "kl_estimator"},
    ),
    ("dapo", "loss_type='dapo'", {}, {}),
    ("ppo_clip", "loss_type='bnpo'", {"token_mean": "bnpo"}, {}),
    ("dr_grpo", "loss_type='dr_grpo'", {}, {"topic": "dr_grpo_length"}),
    ("gspo", "importance_sampling_level='sequence'", {"importance_sampling_level": "sequence"}, {}),
]
for objective, function, fixed, rest in TABLE:
    library.loss(objective, f"LigerFusedLinearGRPOLoss, {function}", **HELD, **rest)(_clipped(**fixed))


@library.loss(
    "luspo", "LigerFusedLinearGRPOLoss, loss_type='luspo', importance_sampling_level='sequence', beta=0", **HELD
)
def _luspo() -> Callable[..., Any]:
    def call(batch: Rollouts, *, epsilon_low: float = 0.002, epsilon_high: float = 0.0025) -> Any:
        how = {"loss_type": "luspo", "importance_sampling_level": "sequence", "beta": 0.0}
        return _loss(batch, epsilon_low=epsilon_low, epsilon_high=epsilon_high, **how)

    return call


@library.loss(
    "cispo",
    "LigerFusedLinearGRPOLoss, loss_type='cispo'",
    given="epsilon_high + 1, which is the cap itself there",
    topic="cispo_cap",
    **HELD,
)
def _cispo() -> Callable[..., Any]:
    def call(batch: Rollouts, *, epsilon_high: float = 0.28, kl_weight: float = 0.0) -> Any:
        return _loss(batch, loss_type="cispo", epsilon_high=1 + epsilon_high, beta=kl_weight)

    return call


@library.loss("sapo", "LigerFusedLinearGRPOLoss, loss_type='sapo'", **HELD)
def _sapo() -> Callable[..., Any]:
    def call(batch: Rollouts, *, tau_positive: float = 1.0, tau_negative: float = 1.05, kl_weight: float = 0.0) -> Any:
        options = {"sapo_temperature_pos": tau_positive, "sapo_temperature_neg": tau_negative}
        return _loss(batch, loss_type="sapo", beta=kl_weight, **options)

    return call


@library.loss("vespo", "LigerFusedLinearGRPOLoss, loss_type='vespo'", **HELD)
def _vespo() -> Callable[..., Any]:
    def call(
        batch: Rollouts, *, k_positive: float = 2.0, lambda_positive: float = 3.0, k_negative: float = 3.0,
        lambda_negative: float = 2.0, kl_weight: float = 0.0,
    ) -> Any:  # fmt: skip
        good = {"vespo_k_pos": k_positive, "vespo_lambda_pos": lambda_positive}
        bad = {"vespo_k_neg": k_negative, "vespo_lambda_neg": lambda_negative}
        return _loss(batch, loss_type="vespo", beta=kl_weight, **good, **bad)

    return call
