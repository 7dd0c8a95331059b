"""NeMo-Aligner: losses of Megatron models, which take log-probs per token, all chosen ones before the rejected."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs, Unpaired
from poz.peers._checkouts import made, reading, spread
from poz.peers._library import Library

library = Library("NeMo-Aligner")
MODEL = "nemo_aligner/models/nlp/gpt/megatron_gpt_{}_model.py"
ABSENT = (
    *("apex", "lightning", "megatron", "nemo", "omegaconf", "pytorch_lightning"),
    *(f"nemo_aligner.{one}" for one in ("algorithms", "data", "utils")),
)
MEAN = {"reduction": "mean"}


def _tokens(sums: list[Any], lengths: list[Any] | None) -> tuple[Any, Any]:
    """Log-probs of tokens and labels; a last column that no completion has keeps their `squeeze` off the tokens."""
    import torch

    whole = torch.cat(sums)
    count = torch.ones(len(whole)) if lengths is None else torch.cat(lengths)
    tokens, mask = spread(whole, count)
    pad = torch.nn.functional.pad
    return pad(tokens, (0, 1)), pad(torch.where(mask, 0, -100), (0, 1), value=-100)


def _dpo(preference_loss: str, average: bool = False) -> Callable[..., Any]:
    """`loss_func` of the DPO model on pairs, with β, and the scale of known rewards."""
    import torch

    with reading(MODEL.format("dpo"), *ABSENT):
        from nemo_aligner.models.nlp.gpt.megatron_gpt_dpo_model import MegatronGPTDPOModel

    def loss(pairs: Pairs, beta: float, eta: float = 1.0) -> Any:
        this = made(
            MegatronGPTDPOModel, preference_loss=preference_loss, ref_policy_kl_penalty=beta, gt_reward_scale=eta
        )
        lengths = [pairs.chosen_len, pairs.rejected_len] if average else None
        own, labels = _tokens([pairs.chosen, pairs.rejected], lengths)
        ref, _ = _tokens([pairs.ref_chosen, pairs.ref_rejected], lengths)
        known = None if pairs.margin is None else torch.cat([pairs.margin, 0 * pairs.margin])
        return this.loss_func(own, ref, labels, known, average_log_probs=average)[0]

    return loss


def _one(name: str, **rest: Any) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        loss = _dpo(**rest)
        if name == "tau":
            return lambda pairs, *, tau: loss(pairs, tau)
        if name == "eta":
            return lambda pairs, *, beta, eta: loss(pairs, beta, eta)
        return lambda pairs, *, beta: loss(pairs, beta)

    return make


AVERAGE = "preference_average_log_probs=True"
library.loss("dpo", "preference_loss=dpo", **MEAN)(_one("beta", preference_loss="dpo"))
library.loss("ln_dpo", f"preference_loss=dpo, {AVERAGE}", **MEAN)(_one("beta", preference_loss="dpo", average=True))
library.loss("ipo", "preference_loss=ipo", topic="ipo_sum_or_mean", **MEAN)(_one("tau", preference_loss="ipo"))
library.loss(
    "ipo", f"preference_loss=ipo, {AVERAGE}", does="has means per token, of policy and reference",
    settings={"length_normalized": True}, topic="ipo_sum_or_mean", **MEAN,
)(_one("tau", preference_loss="ipo", average=True))  # fmt: skip
for preference_loss, distance in [("rpo_sq", "squared"), ("rpo_bwd_kl", "backward_kl"), ("rpo_fwd_kl", "forward_kl")]:
    library.loss(
        "reward_aware_po", f"preference_loss={preference_loss}", settings={} if distance == "squared" else {"distance": distance},
        does="" if distance == "squared" else "is a KL between the two Bernoullis", **MEAN,
    )(_one("eta", preference_loss=preference_loss))  # fmt: skip


def _sft(average: bool) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        with reading(MODEL.format("dpo"), *ABSENT):
            from nemo_aligner.models.nlp.gpt.megatron_gpt_dpo_model import MegatronGPTDPOModel

        def call(pairs: Pairs) -> Any:
            lengths = [pairs.chosen_len, pairs.chosen_len] if average else None
            tokens, labels = _tokens([pairs.chosen, 0 * pairs.chosen], lengths)
            return made(MegatronGPTDPOModel).sft_loss_func(tokens, labels, average_log_probs=average)

        return call

    return make


library.loss("sft", "sft_loss_func", topic="nll_normalizer", **MEAN)(_sft(average=False))
library.loss(
    "sft", "sft_loss_func, sft_average_log_probs=True", does="has the mean per token", settings={"normalizer": "mean"},
    topic="nll_normalizer", **MEAN,
)(_sft(average=True))  # fmt: skip


@library.loss(
    "kto", "MegatronGPTKTOModel, one rank", topic="kto_weights",
    given="one example at a time, beside each sample of the KL; weights of examples multiply its loss",
)  # fmt: skip
def kto() -> Callable[..., Any]:
    import torch

    with reading(MODEL.format("kto"), *ABSENT):
        from nemo_aligner.models.nlp.gpt import megatron_gpt_kto_model as module
    module.average_losses_across_data_parallel_group = torch.stack

    def call(batch: Unpaired, *, beta: float, desirable_weight: float, undesirable_weight: float) -> Any:
        weights = {"desirable_loss_weight": desirable_weight, "undesirable_loss_weight": undesirable_weight}
        this = made(module.MegatronGPTKTOModel, ref_policy_kl_penalty=beta, **weights)
        samples, losses = len(batch.kl_logps), []
        for own, ref, good in zip(batch.logps, batch.ref_logps, batch.desirable, strict=True):
            sides = [
                torch.cat([x.repeat(samples), kl])[:, None]
                for x, kl in ((own, batch.kl_logps), (ref, batch.kl_ref_logps))
            ]
            losses.append(this.loss_func(*sides, torch.zeros(2 * samples, 1), good.long().repeat(samples))[0])
        return torch.stack(losses) if batch.weights is None else torch.stack(losses) * batch.weights

    return call


@library.fact(
    "Each rank clamps its mean of the KL at 0 before the mean over the ranks: 0.5 of ranks with -2 and 1.",
    gives=[0.5], objective="kto", topic="kto_baseline",
)  # fmt: skip
@reading(MODEL.format("kto"), *ABSENT)
def kl_of_two_ranks() -> list[float]:
    import torch
    from nemo_aligner.models.nlp.gpt import megatron_gpt_kto_model as module

    module.average_losses_across_data_parallel_group = lambda mine: (torch.stack(mine) + 1.0) / 2
    model = object.__new__(module.MegatronGPTKTOModel)
    vars(model).update(ref_policy_kl_penalty=0.1, desirable_loss_weight=1.0, undesirable_loss_weight=1.0)
    own, ref = torch.tensor([[-1.0], [-3.0]]), torch.tensor([[-1.0], [-1.0]])  # the example, then its sample of the KL
    return model.loss_func(own, ref, torch.zeros(2, 1), torch.tensor([1]))[1].tolist()  # type: ignore[no-any-return]


@library.fact(
    "Packed completions are chosen and rejected in turn: sums of 1, 2, 3 and 4 tokens, chosen before rejected.",
    gives=[1.0, 3.0, 2.0, 4.0], topic="layout",
)  # fmt: skip
@reading(MODEL.format("dpo"), *ABSENT)
def packed_layout() -> list[float]:
    import torch
    from nemo_aligner.models.nlp.gpt.megatron_gpt_dpo_model import MegatronGPTDPOModel

    model, starts = object.__new__(MegatronGPTDPOModel), torch.tensor([0, 1, 3, 6, 10])
    return model.get_reduced_masked_logps(torch.ones(1, 10), torch.zeros(1, 10), cu_seqlens=starts).tolist()  # type: ignore[no-any-return]


@library.fact(
    "A batch whose completions have one position each is summed over the completions.", gives=[-3.0], right=[-1.0, -2.0],
    because="`squeeze`, meant for a packed batch of one row, takes the axis of the tokens away.", objective="dpo",
)  # fmt: skip
@reading(MODEL.format("dpo"), *ABSENT)
def completions_of_one_position() -> list[float]:
    import torch
    from nemo_aligner.models.nlp.gpt.megatron_gpt_dpo_model import MegatronGPTDPOModel

    model = object.__new__(MegatronGPTDPOModel)
    sums = model.get_reduced_masked_logps(torch.tensor([[-1.0], [-2.0]]), torch.zeros(2, 1))
    return sums.flatten().tolist()  # type: ignore[no-any-return]


@library.fact(
    "bt losses of scores 1 and 0 with strength 2: plain, less the strength, and times it; no centring.",
    gives=[0.3132617, 1.313262, 0.6265234], objective="bradley_terry", topic="reward_model",
)  # fmt: skip
@reading(MODEL.format("regression_reward"), *ABSENT)
def bradley_terry() -> list[float]:
    import torch
    from nemo_aligner.models.nlp.gpt.megatron_gpt_regression_reward_model import MegatronGPTRegressionRewardModel

    model = object.__new__(MegatronGPTRegressionRewardModel)
    scores, labels, found = torch.eye(2, 9).roll(4, 1), torch.full((2, 9), -2.0), []
    for loss_func in ("regular_bt", "margin_bt", "scaled_bt"):
        vars(model)["cfg"] = SimpleNamespace(loss_func=loss_func)
        found.append(float(model.bt_loss_func(scores, labels)))
    return found
