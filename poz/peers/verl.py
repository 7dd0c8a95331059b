"""verl: the policy losses of its registry, as they are set and as they are where nothing is; one number for a batch."""

from collections.abc import Callable
from typing import Any

from poz.families import Rollouts
from poz.peers._library import Library, taking

library = Library("verl", "verl")

MODES = {"token_mean": "token-mean", "sequence_mean": "seq-mean-token-mean", "sequence_sum": "seq-mean-token-sum"}
NO_DUAL_CLIP = 1e30  # of a ratio that verl clamps at e^20
CLIP = {"epsilon_low": "clip_ratio_low", "epsilon_high": "clip_ratio_high"}
TRUST = {"divergence_low": "clip_ratio_low", "divergence_high": "clip_ratio_high", "ratio_cap": "clip_ratio_c"}
Loss = Callable[..., Any]


def rows(rollouts: Rollouts) -> dict[str, Any]:
    """As verl's losses are given them: advantages of tokens, a mask, and an old policy without a gradient."""
    import torch

    logps, old, mask = rollouts.logps, rollouts.old_logps, rollouts.mask
    return {
        "old_log_prob": (logps if old is None else old).detach(),
        "log_prob": logps,
        "advantages": rollouts.advantages[:, None].expand_as(logps),
        "response_mask": torch.ones_like(logps, dtype=torch.bool) if mask is None else mask.bool(),
    }


def actor(**fields: Any) -> Any:
    """Its configuration of an actor, with these fields of it or of its `policy_loss`."""
    from verl.workers.config import ActorConfig, PolicyLossConfig

    policy = {name: fields.pop(name) for name in PolicyLossConfig.__dataclass_fields__ if name in fields}
    said = {"strategy": "fsdp", "rollout_n": 1, "ppo_micro_batch_size_per_gpu": 1}
    return ActorConfig(policy_loss=PolicyLossConfig(**policy), **said, **fields)


def _loss(name: str, names: dict[str, str], mode: str = "", **fields: Any) -> Callable[[], Loss]:
    """A loss of the registry, by the names that verl has for poz's hyper-parameters; `mode` where it is not one of them."""

    def make() -> Loss:
        from verl.trainer.ppo.core_algos import get_policy_loss_fn

        function = get_policy_loss_fn(name)

        def call(rollouts: Rollouts, **values: Any) -> Any:
            how = mode or MODES[values.pop("aggregation")]
            said = {names[n]: NO_DUAL_CLIP if value is None else value for n, value in values.items()}
            return function(loss_agg_mode=how, config=actor(**fields, **said), **rows(rollouts))[0]

        return taking(call, (*names, *["aggregation"][bool(mode) :]))

    return make


for objective, name, names, mode, fields in [
    ("ppo_clip", "vanilla", CLIP | {"dual_clip": "clip_ratio_c"}, "", {}),
    ("dapo", "vanilla", CLIP, "", {"clip_ratio_c": NO_DUAL_CLIP}),
    ("gspo_token", "gspo", CLIP, "", {}),
    ("gspo", "gspo", CLIP, "", {}),
    ("cispo", "cispo", CLIP, "", {}),
    ("gmpo", "geo_mean", CLIP, "any", {}),
    ("sapo", "sapo", {"tau_positive": "tau_pos", "tau_negative": "tau_neg"}, "any", {}),
    ("dppo_tv", "dppo_tv", TRUST, "", {}),
    ("dppo_kl", "dppo_kl", TRUST, "", {}),
    ("reinforce", "gpg", {}, "", {}),
    ("kl_cov", "kl_cov", {"share": "kl_cov_ratio", "kl_strength": "ppo_kl_coef"}, "", {}),
    ("dro", "dro", {"beta": "dro_beta"}, "", {}),
]:  # fmt: skip
    library.loss(objective, f"policy loss '{name}'", reduction="mean")(_loss(name, names, mode, **fields))

BAND = {"band_low": "clip_cov_lb", "band_high": "clip_cov_ub"}
library.loss(
    "clip_cov", "policy loss 'clip_cov', clip_cov_ratio=1", reduction="mean", settings={"share": 1.0},
    does="draws a share of the tokens from torch's global generator, so it is compared where all are taken",
)(_loss("clip_cov", CLIP | BAND, clip_cov_ratio=1.0))  # fmt: skip


@library.loss(
    "dr_grpo", "policy loss 'vanilla', loss_agg_mode='seq-mean-token-sum-norm', loss_scale_factor", reduction="mean"
)
def scaled() -> Loss:
    from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla

    def call(rollouts: Rollouts, *, epsilon_low: float, epsilon_high: float, length: float) -> Any:
        config = actor(clip_ratio_low=epsilon_low, clip_ratio_high=epsilon_high, clip_ratio_c=NO_DUAL_CLIP)
        config.global_batch_info["loss_scale_factor"] = length
        mode = "seq-mean-token-sum-norm"
        return compute_policy_loss_vanilla(loss_agg_mode=mode, config=config, **rows(rollouts))[0]

    return call


for objective, name, settings, does, topic in [
    ("ppo_clip", "vanilla", {"dual_clip": 3.0}, "counts a ratio as at most 3 where the advantage is negative", ""),
    ("cispo", "cispo", {"epsilon_low": 0.2, "epsilon_high": 0.2}, "keeps the weight in [0.8, 1.2]", "cispo_cap"),
    ("gspo_token", "gspo", {"epsilon_low": 0.2, "epsilon_high": 0.2, "aggregation": "token_mean"},
     "has PPO's ε of 0.2, and averages over all tokens", ""),
    ("gmpo", "geo_mean", {"epsilon_low": 0.2, "epsilon_high": 0.2}, "has an ε of 0.2", "gmpo_clip"),
    ("dppo_tv", "dppo_tv", {"ratio_cap": 3.0}, "caps the ratio at its clip_ratio_c, 3, and never reads its own 20", ""),
    ("dppo_kl", "dppo_kl", {"ratio_cap": 3.0, "divergence_low": 0.2, "divergence_high": 0.2},
     "caps the ratio at its clip_ratio_c, 3, and lets a KL of 0.2 pass", ""),
    ("reinforce", "gpg", {"aggregation": "token_mean"}, "averages over all tokens", ""),
]:  # fmt: skip
    library.loss(
        objective, f"policy loss '{name}', nothing set", does=does, settings=settings, topic=topic, reduction="mean"
    )(_loss(name, {}, "token-mean"))
