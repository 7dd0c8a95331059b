"""OpenRLHF: its losses on pairs, and the policy loss of its actor with what that adds to it."""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs, Rollouts
from poz.peers._empty import empty_packages
from poz.peers._library import Library
from poz.peers._spread import spread, with_lengths

library = Library("OpenRLHF", "openrlhf")
Loss = Callable[..., Any]

imported = empty_packages("deepspeed", "flash_attn", "ray", "torchdata", "vllm", "aiohttp")
"""Decorates what imports OpenRLHF: packages that are built for a GPU or start processes, of which nothing is called."""


def _preference(ipo: bool) -> Callable[[], Loss]:
    def make() -> Loss:
        from openrlhf.models import DPOLoss

        def loss(pairs: Pairs, *said: Any) -> Any:
            return DPOLoss(*said, ipo=ipo)(pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected)[0]

        def dpo(pairs: Pairs, *, beta: float, label_smoothing: float) -> Any:
            return loss(pairs, beta, label_smoothing)

        def call(pairs: Pairs, *, tau: float) -> Any:
            return loss(pairs, tau)

        return call if ipo else dpo

    return imported(make)


library.loss("dpo", "DPOLoss", reduction="mean", topic="dpo_smoothing")(_preference(False))
library.loss("ipo", "DPOLoss, ipo=True", reduction="mean", topic="ipo_sum_or_mean")(_preference(True))


@library.loss("bradley_terry", "PairWiseLoss", lacks=("label", "tie"), reduction="mean", topic="reward_model")
@imported
def pair_wise() -> Loss:
    from openrlhf.models import PairWiseLoss

    return lambda pairs: PairWiseLoss()(pairs.chosen, pairs.rejected, pairs.margin)


@library.loss("bradley_terry", "LogExpLoss", lacks=("label", "tie", "margin"), reduction="mean", topic="reward_model")
@imported
def log_exp() -> Loss:
    from openrlhf.models import LogExpLoss

    return lambda pairs: LogExpLoss()(pairs.chosen, pairs.rejected)


@library.loss(
    "sft", "DPOTrainer, nll_loss_coef", does="is the mean of the means of completions", settings={"normalizer": "mean"},
    reduction="mean", topic="nll_normalizer",
)  # fmt: skip
@imported
def nll() -> Loss:
    import torch
    from openrlhf.trainer.dpo_trainer import DPOTrainer

    def call(pairs: Pairs) -> Any:
        _, labels = spread(pairs.chosen.detach(), with_lengths(pairs).chosen_len)
        mask, count = (labels != -100).long(), (labels != -100).sum(1, keepdim=True)
        tokens = (pairs.chosen[:, None] / count.clamp(min=1)).expand(len(mask), mask.shape[1] - 1)
        trainer = SimpleNamespace(
            strategy=SimpleNamespace(ring_attn_group=None), tokenizer=SimpleNamespace(pad_token_id=0),
            _get_batch_logps=functools.partial(DPOTrainer._get_batch_logps, None),
            concatenated_inputs=lambda *given: (None, torch.cat([mask, mask]), 2 * [1] * len(mask)),
        )  # fmt: skip

        def model(*given: Any, **rest: Any) -> Any:
            return torch.cat([tokens, tokens]), {}

        return DPOTrainer.concatenated_forward(trainer, model, mask, mask, mask, mask, None)[3]

    return call


def rows(rollouts: Rollouts) -> dict[str, Any]:
    """As its policy loss is given them."""
    import torch

    logps, old, mask = rollouts.logps, rollouts.old_logps, rollouts.mask
    return {
        "old_log_probs": (logps if old is None else old).detach(),
        "advantages": rollouts.advantages[:, None].expand_as(logps),
        "action_mask": torch.ones_like(logps) if mask is None else mask.to(logps.dtype),
    }


def _policy(*, dual: bool = False, **said: Any) -> Callable[[], Loss]:
    def make() -> Loss:
        from openrlhf.models import PolicyLoss

        def loss(r: Rollouts, low: float, high: float, bounds: Any = (0.5, 5.0), dual_clip: float | None = None) -> Any:
            sampler = None if r.sampler_logps is None else r.sampler_logps.detach()
            known = said if sampler is not None else {**said, "is_correction_level": "off"}
            function = PolicyLoss(low, high, dual_clip, is_correction_threshold=bounds, **known)
            return function(r.logps, rollout_log_probs=sampler, **rows(r))[0]

        def clipped(r: Rollouts, *, epsilon_low: float, epsilon_high: float, dual_clip: float | None) -> Any:
            return loss(r, epsilon_low, epsilon_high, dual_clip=dual_clip)

        def call(r: Rollouts, *, epsilon_low: float, epsilon_high: float) -> Any:
            return loss(r, epsilon_low, epsilon_high)

        def corrected(
            r: Rollouts, *, epsilon_low: float, epsilon_high: float, correction_low: float, correction_high: float
        ) -> Any:
            return loss(r, epsilon_low, epsilon_high, [correction_low, correction_high])

        return corrected if said.get("is_correction_level") else clipped if dual else call

    return imported(make)


POLICY: list[tuple[str, str, dict[str, Any], dict[str, Any], str, str]] = [
    ("ppo_clip", "PolicyLoss", {"dual": True}, {}, "", ""),
    ("ppo_clip", "PolicyLoss, token_level_loss=False", {"dual": True, "token_level_loss": False},
     {"aggregation": "sequence_mean"}, "averages over the tokens of each completion first", ""),
    ("dapo", "PolicyLoss", {}, {}, "", ""),
    ("gspo", "PolicyLoss, policy_loss_type='gspo'", {"policy_loss_type": "gspo"}, {}, "", ""),
    ("ppo_clip", "PolicyLoss, is_correction_level='token', is_correction_mode='clip'",
     {"is_correction_level": "token", "is_correction_mode": "clip"}, {"correction": "token_truncate"}, "", ""),
    ("ppo_clip", "PolicyLoss, is_correction_level='token'", {"is_correction_level": "token"},
     {"correction": "token_mask"}, "", ""),
    ("ppo_clip", "PolicyLoss, is_correction_level='seq'", {"is_correction_level": "seq"}, {"correction": "geometric_mask"},
     "masks by the mean of log-ratios and leaves the weights of tokens as they are, uncapped", "sequence_mask"),
]  # fmt: skip
for objective, function, said, settings, does, topic in POLICY:
    library.loss(objective, function, does=does, settings=settings, topic=topic, reduction="mean")(_policy(**said))


def _actor(token_level_loss: bool) -> Callable[[], Loss]:
    """Its training step on what a model puts out, up to the loss that it would go backward from."""

    def make() -> Loss:
        import torch
        from openrlhf.models import PolicyLoss
        from openrlhf.trainer.ppo_utils.experience import Experience
        from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer

        def call(
            r: Rollouts, *, epsilon_low: float, epsilon_high: float, kl_weight: float, entropy_weight: float
        ) -> Any:
            class Model(torch.nn.Module):
                def forward(self, *given: Any, **rest: Any) -> Any:
                    return r.logps, SimpleNamespace(entropy=r.entropy)

            losses: list[Any] = []
            strategy = SimpleNamespace(
                ring_attn_group=None, backward=lambda loss, *rest: losses.append(loss), optimizer_step=lambda *rest, **more: None,
                get_grad_norm=lambda model: 0.0,
            )  # fmt: skip
            kl = {"use_loss": r.ref_logps is not None, "init_coef": 1.0, "estimator": "k3", "unbiased_gradient": False}
            args = SimpleNamespace(
                train=SimpleNamespace(dynamic_batch_enable=False), algo=SimpleNamespace(kl=SimpleNamespace(**kl)),
                actor=SimpleNamespace(entropy_coef=None if r.entropy is None else entropy_weight),
            )  # fmt: skip
            trainer = SimpleNamespace(
                actor=Model(), strategy=strategy, args=args, aux_loss=False, ema_model=None, actor_optim=None, replay_buffer=None,
                actor_loss_fn=PolicyLoss(epsilon_low, epsilon_high, token_level_loss=token_level_loss),
                actor_scheduler=SimpleNamespace(get_last_lr=lambda: [0.0]),
            )  # fmt: skip
            given = rows(r)
            experience = Experience(
                action_log_probs=given.pop("old_log_probs"),
                base_action_log_probs=None if r.ref_logps is None else r.ref_logps.detach(),
                **given,
            )
            ActorPPOTrainer.training_step(trainer, experience, kl_weight, 0, {"dp_size": 1})
            return losses[0]

        return call

    return imported(make)


for function, token_level_loss, does, settings in [
    ("ActorPPOTrainer.training_step, k3", True, "averages over all tokens", {"aggregation": "token_mean"}),
    ("ActorPPOTrainer.training_step, k3, token_level_loss=False", False,
     "averages the surrogate over completions, and KL and entropy over all tokens", {}),
]:  # fmt: skip
    library.loss("grpo", function, does=does, settings=settings, reduction="mean", topic="kl_estimator")(
        _actor(token_level_loss)
    )
