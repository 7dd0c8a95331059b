"""verl: what its actor adds to a policy loss, a KL and an entropy, and how the sampler is corrected for."""

from collections.abc import Callable
from typing import Any

from poz.families import Rollouts
from poz.peers._library import Library
from poz.peers.verl import MODES, NO_DUAL_CLIP, Loss, actor, rows

library = Library("verl", "verl")


def _with_kl(kind: str) -> Callable[[], Loss]:
    """The loss of the actor, which is given what a model puts out: packed, prompts of one token, log-probs one place left."""

    def make() -> Loss:
        import torch
        from tensordict import TensorDict
        from verl.utils import tensordict_utils
        from verl.workers.utils.losses import ppo_loss

        def call(
            r: Rollouts, *, epsilon_low: float, epsilon_high: float, kl_weight: float, entropy_weight: float,
            aggregation: str,
        ) -> Any:  # fmt: skip
            given = rows(r)
            size, width = given["log_prob"].shape
            ones = torch.ones(size, width + 1, dtype=torch.int64)
            tokens = {"prompts": ones[:, :1], "responses": ones[:, 1:], "attention_mask": ones}
            policies = {"old_log_probs": given["old_log_prob"], "advantages": given["advantages"]}
            reference = {} if r.ref_logps is None else {"ref_log_prob": r.ref_logps.detach()}
            data = TensorDict(
                {**tokens, **policies, **reference, "response_mask": given["response_mask"].long()}, batch_size=size
            )
            tensordict_utils.assign_non_tensor(data, dp_size=1, batch_num_tokens=None, global_batch_size=None)
            made = {"log_probs": r.logps, "entropy": r.entropy}
            output = {n: torch.cat([x, x[:, -1:]], -1).reshape(-1) for n, x in made.items() if x is not None}
            config = actor(
                clip_ratio_low=epsilon_low, clip_ratio_high=epsilon_high, clip_ratio_c=NO_DUAL_CLIP,
                loss_agg_mode=MODES[aggregation], use_kl_loss=bool(reference), kl_loss_coef=kl_weight, kl_loss_type=kind,
                entropy_coeff=entropy_weight,
            )  # fmt: skip
            return ppo_loss(config, output, data)[0]

        return call

    return make


for kind, their in [("k1", "kl"), ("k3", "low_var_kl"), ("k3+", "k3+")]:
    library.loss("grpo", f"ppo_loss, kl_loss_type='{their}'", settings={"kl": kind}, reduction="mean", topic="kl_estimator")(
        _with_kl(their)
    )  # fmt: skip


def _corrected(level: str, band: bool) -> Callable[[], Loss]:
    def make() -> Loss:
        from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla
        from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_weights

        def call(r: Rollouts, *, correction_low: float, correction_high: float, aggregation: str) -> Any:
            given, weights = rows(r), None
            if r.sampler_logps is not None:
                apart = given["old_log_prob"] - r.sampler_logps.detach()
                bounds = f"{max(correction_low, 1e-300)}_{correction_high}" if band else correction_high
                weights, _ = compute_rollout_correction_weights(apart, given["response_mask"], level, bounds)
            given |= {"loss_agg_mode": MODES[aggregation], "rollout_is_weights": weights}
            return compute_policy_loss_vanilla(config=actor(clip_ratio_c=NO_DUAL_CLIP), **given)[0]

        return call

    return make


for level, band, correction in [
    ("token", False, "token_truncate"),
    ("token", True, "token_mask"),
    ("sequence", False, "sequence_truncate"),
    ("sequence", True, "sequence_mask"),
]:
    settings = {"correction": correction} | ({} if band else {"correction_low": 0.0})
    library.loss(
        "ppo_clip", f"policy loss 'vanilla', rollout_is='{level}', a threshold of {'two' if band else 'one'}",
        settings=settings, reduction="mean", topic="sequence_mask" if correction == "sequence_mask" else "",
    )(_corrected(level, band))  # fmt: skip


def _bypass(kind: str, level: str | None) -> Callable[[], Loss]:
    """Of an old policy that is the sampler."""

    def make() -> Loss:
        from verl.trainer.config.algorithm import RolloutCorrectionConfig
        from verl.trainer.ppo.core_algos import get_policy_loss_fn

        function = get_policy_loss_fn("bypass_mode")

        def loss(r: Rollouts, aggregation: str, threshold: float = 2.0, **clip: float) -> Any:
            how = RolloutCorrectionConfig(
                bypass_mode=True, loss_type=kind, rollout_is=level, rollout_is_threshold=threshold, rollout_rs=None
            )
            config = actor(rollout_correction=how, clip_ratio_c=NO_DUAL_CLIP, **clip)
            return function(loss_agg_mode=MODES[aggregation], config=config, **rows(r))[0]

        def reinforce(r: Rollouts, *, epsilon_high: float, aggregation: str) -> Any:
            return loss(r, aggregation, 1 + epsilon_high)

        def ppo_clip(r: Rollouts, *, epsilon_low: float, epsilon_high: float, aggregation: str) -> Any:
            return loss(r, aggregation, clip_ratio_low=epsilon_low, clip_ratio_high=epsilon_high)

        return reinforce if kind == "reinforce" else ppo_clip

    return make


library.loss("ppo_clip", "policy loss 'bypass_mode'", reduction="mean")(_bypass("ppo_clip", None))
library.loss("cispo", "policy loss 'bypass_mode', loss_type='reinforce', rollout_is='token'", reduction="mean")(
    _bypass("reinforce", "token")
)
