"""NeMo-RL: its losses, which take log-probs per token, pairs as chosen and rejected in turns; one number for a batch."""

import functools
from collections.abc import Callable
from typing import Any

from poz.families import Pairs, Rollouts
from poz.peers._checkouts import reading, spread
from poz.peers._library import Library
from poz.peers._spread import with_lengths

library = Library("NeMo-RL")
FILE = "nemo_rl/algorithms/loss/loss_functions.py", "ray", "nemo_rl.data", "nemo_rl.models", "nemo_rl.utils"
Loss = Callable[..., Any]
TOKENS, SEQUENCES = {"aggregation": "token_mean"}, {"aggregation": "sequence_mean"}


@functools.cache
def losses() -> Any:
    """Its module of losses, imported once."""
    with reading(*FILE):
        from nemo_rl.algorithms import loss

    return loss


def _loss(rollouts: Rollouts, **said: Any) -> Any:
    """Of a model whose first token is a prompt, of which there is no log-prob."""
    import torch

    logps, old, ref, sampler = rollouts.logps, rollouts.old_logps, rollouts.ref_logps, rollouts.sampler_logps
    if ref is None:
        said["reference_policy_kl_penalty"] = 0.0
    if sampler is None:
        said = {n: x for n, x in said.items() if "importance_sampling" not in n}
    old = logps if old is None else old
    fields = {
        "token_mask": torch.ones_like(logps) if rollouts.mask is None else rollouts.mask.to(logps.dtype),
        "advantages": rollouts.advantages[:, None].expand_as(logps),
        "prev_logprobs": old, "generation_logprobs": old if sampler is None else sampler,
        "reference_policy_logprobs": logps if ref is None else ref,
    }  # fmt: skip
    data = {name: torch.nn.functional.pad(x.detach(), (1, 0)) for name, x in fields.items()}
    data["sample_mask"] = torch.ones(len(logps), dtype=logps.dtype)
    function = losses().ClippedPGLossFn(losses().ClippedPGLossConfig(**said))
    return function(logps, data, data["sample_mask"].sum(), data["token_mask"].sum())[0]


def _clipped(**said: Any) -> Callable[[], Loss]:
    def make() -> Loss:
        losses()

        def call(r: Rollouts, *, epsilon_low: float, epsilon_high: float) -> Any:
            return _loss(r, ratio_clip_min=epsilon_low, ratio_clip_max=epsilon_high, **said)

        return call

    return make


GSPO = {"sequence_level_importance_ratios": True, "token_level_loss": False}
for objective, function, said, settings, does, topic in [
    ("dapo", "ClippedPGLossFn", {}, {}, "", ""),
    ("ppo_clip", "ClippedPGLossFn, token_level_loss=False", {"token_level_loss": False}, SEQUENCES,
     "averages over the tokens of each completion first", ""),
    ("gspo", "ClippedPGLossFn, sequence_level_importance_ratios", GSPO, {}, "", ""),
    ("cispo", "ClippedPGLossFn, use_cispo", {"use_cispo": True}, {}, "", ""),
]:  # fmt: skip
    library.loss(objective, function, does=does, settings=settings, topic=topic, reduction="mean")(_clipped(**said))


@library.loss("ppo_clip", "ClippedPGLossFn, ratio_clip_c", reduction="mean")
def dual() -> Loss:
    losses()

    def call(r: Rollouts, *, epsilon_low: float, epsilon_high: float, dual_clip: float | None) -> Any:
        return _loss(r, ratio_clip_min=epsilon_low, ratio_clip_max=epsilon_high, ratio_clip_c=dual_clip)

    return call


@library.loss(
    "cispo", "ClippedPGLossFn, use_cispo, nothing else set", does="keeps the weight in [0.8, 1.2]",
    settings={"epsilon_low": 0.2, "epsilon_high": 0.2}, topic="cispo_cap", reduction="mean",
)  # fmt: skip
def cispo() -> Loss:
    losses()
    return lambda rollouts: _loss(rollouts, use_cispo=True)


@library.loss(
    "reinforce",
    "ClippedPGLossFn, disable_ppo_ratio",
    does="averages over all tokens",
    settings=TOKENS,
    reduction="mean",
)
def reinforce() -> Loss:
    losses()
    return lambda rollouts: _loss(rollouts, disable_ppo_ratio=True)


def _with_kl(kind: str) -> Callable[[], Loss]:
    def make() -> Loss:
        losses()

        def call(r: Rollouts, *, epsilon_low: float, epsilon_high: float, kl_weight: float) -> Any:
            kl = {"reference_policy_kl_type": kind, "reference_policy_kl_penalty": kl_weight}
            return _loss(r, ratio_clip_min=epsilon_low, ratio_clip_max=epsilon_high, **kl)

        return call

    return make


for kind, ours, does in [
    ("k3", "k3+", "has the gradient of the expected KL, which is that of k2, and averages over all tokens"),
    ("k1", "s*k1", "has the gradient of the expected k1, and averages over all tokens"),
]:
    library.loss(
        "grpo", f"ClippedPGLossFn, reference_policy_kl_type='{kind}'", does=does, settings=TOKENS | {"kl": ours},
        reduction="mean", topic="kl_estimator",
    )(_with_kl(kind))  # fmt: skip


@library.loss(
    "grpo", "ClippedPGLossFn, use_on_policy_kl_approximation", settings=TOKENS | {"kl": "r*k3"}, reduction="mean",
    does="multiplies the KL by the ratio to the sampler, and averages over all tokens",
    given="a sampler that is the old policy", topic="kl_estimator",
)  # fmt: skip
def weighted_kl() -> Loss:
    losses()

    def call(r: Rollouts, *, kl_weight: float) -> Any:
        return _loss(
            r._replace(sampler_logps=None), use_on_policy_kl_approximation=True, reference_policy_kl_penalty=kl_weight
        )

    return call


def _corrected(kind: str, **said: Any) -> Callable[[], Loss]:
    def make() -> Loss:
        losses()

        def call(r: Rollouts, *, correction_low: float, correction_high: float) -> Any:
            bounds = {"_type": kind, "_ratio": correction_high, "_ratio_min": correction_low}
            tis = {f"truncated_importance_sampling{end}": x for end, x in bounds.items()}
            return _loss(r, use_importance_sampling_correction=True, **tis, **said)

        return call

    return make


for kind, objective, correction, does, topic in [
    ("tis", "ppo_clip", "token_truncate", "", ""),
    ("icepop", "ppo_clip", "token_mask", "", ""),
    ("seq-mask-tis", "ppo_clip", "geometric_mask",
     "masks by the mean of log-ratios and leaves the weights of tokens as they are, uncapped", "sequence_mask"),
    ("tis", "gspo", "sequence_truncate", "weighs a completion by the ratio of its SUM to the sampler's", "gspo_sampler"),
]:  # fmt: skip
    narrow = {"ratio_clip_min": 0.0003, "ratio_clip_max": 0.0004, **GSPO} if objective == "gspo" else {}
    library.loss(
        objective, f"ClippedPGLossFn, truncated_importance_sampling_type='{kind}'", does=does,
        settings={"correction": correction}, topic=topic, reduction="mean",
    )(_corrected(kind, **narrow))  # fmt: skip


def _pairs(pairs: Pairs, lengths: Any, **said: Any) -> Any:
    """Of a model whose last token predicts none; the mask begins with the prompt, the reference is as the policy."""
    import torch

    chosen, rejected = pairs.chosen, pairs.chosen * 0 if pairs.rejected is None else pairs.rejected
    ones = torch.ones(len(chosen), dtype=torch.int64)
    by = [x.long() for x in lengths] if lengths else [ones, ones]
    sides = [(chosen, by[0]), (rejected, by[-1])]
    width = max(int(x.max()) for x in by)

    def interleaved(parts: list[Any]) -> Any:
        parts = [torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in parts]
        return torch.stack(parts, 1).flatten(0, 1)

    logps, masks = (interleaved([spread(*side)[i] for side in sides]) for i in (0, 1))
    ref = [spread(x, n)[0] for x, n in zip((pairs.ref_chosen, pairs.ref_rejected), by, strict=False) if x is not None]
    data = {
        "token_mask": torch.nn.functional.pad(masks.to(logps.dtype), (1, 0)),
        "reference_policy_logprobs": torch.nn.functional.pad(interleaved(ref) if ref else 0 * logps, (0, 1)).detach(),
        "sample_mask": torch.ones(len(logps), dtype=logps.dtype),
    }
    function = losses().DPOLossFn(losses().DPOLossConfig(**said))
    return function(logps, data, data["sample_mask"].sum(), data["token_mask"].sum())[0]


REFERENCE = {"constant": ("ref_chosen", "ref_rejected"), "reduction": "mean"}


@library.loss("dpo", "DPOLossFn", **REFERENCE)
def dpo() -> Loss:
    losses()

    def call(pairs: Pairs, *, beta: float) -> Any:
        return _pairs(pairs, (), reference_policy_kl_penalty=beta)

    return call


@library.loss("ln_dpo", "DPOLossFn, preference_average_log_probs", **REFERENCE)
def ln_dpo() -> Loss:
    losses()

    def call(pairs: Pairs, *, beta: float) -> Any:
        lengths = pairs.chosen_len, pairs.rejected_len
        return _pairs(pairs, lengths, reference_policy_kl_penalty=beta, preference_average_log_probs=True)

    return call


def _sft(average: bool) -> Callable[[], Loss]:
    def make() -> Loss:
        losses()
        weights = {"sft_loss_weight": 1.0, "preference_loss_weight": 0.0, "sft_average_log_probs": average}

        def call(pairs: Pairs) -> Any:
            lengths = (with_lengths(pairs).chosen_len,) if average else ()
            return _pairs(pairs, lengths, **weights)

        return call

    return make


library.loss("sft", "DPOLossFn, sft_loss_weight", reduction="mean", topic="nll_normalizer")(_sft(False))
library.loss(
    "sft", "DPOLossFn, sft_loss_weight, sft_average_log_probs", does="is the mean of the means of completions",
    settings={"normalizer": "mean"}, reduction="mean", topic="nll_normalizer",
)(_sft(True))  # fmt: skip


@library.loss(
    "sft", "NLLLossFn", does="is the mean over all tokens of the batch", settings={"normalizer": "batch_tokens"},
    reduction="mean", topic="nll_normalizer",
)  # fmt: skip
def nll() -> Loss:
    import torch

    function = losses().NLLLossFn()

    def call(pairs: Pairs) -> Any:
        logps, mask = spread(pairs.chosen, with_lengths(pairs).chosen_len.long())
        data = {
            "token_mask": torch.nn.functional.pad(mask.to(logps.dtype), (1, 0)),
            "sample_mask": torch.ones(len(logps), dtype=logps.dtype),
        }
        return function(logps, data, None, mask.sum())[0]

    return call
