"""oat: modules that take a log-prob for each completion and give the mean over the pairs."""

from collections.abc import Callable
from typing import Any

from poz.families import Pairs
from poz.peers._checkouts import reading, spread
from poz.peers._library import Library

library = Library("oat")
ABSENT = "Levenshtein", "deepspeed", "einops", "launchpad", "tree", "vllm"
LOSS = (
    "oat/learners/loss.py", *ABSENT,
    *(f"oat.learners.{one}" for one in ("dap", "dap_with_rm", "ntp", "offline", "offline_dap", "rl", "sft")),
)  # fmt: skip
STEP = (
    "oat/algorithms/xpo.py", *ABSENT, "oat.actors", "oat.args", "oat.collectors", "oat.rm", "oat.utils.buffer",
    *(f"oat.utils.{one}" for one in ("deepspeed", "distributed", "ipc", "launcher", "lm_head", "ops")),
)  # fmt: skip
MEAN = {"reduction": "mean"}


def _dpo(algo: str) -> Callable[..., Any]:
    import torch

    with reading(*LOSS):
        from oat.learners.loss import DPOLoss
        from oat.types import DAPAlgo

    def loss(pairs: Pairs, **config: float) -> Any:
        ones = torch.ones(len(pairs.chosen))
        lengths = (ones, ones) if pairs.chosen_len is None else (pairs.chosen_len, pairs.rejected_len)
        mask = spread(torch.cat([ones, ones]), torch.cat(lengths))[1]
        given = pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected, ones, mask
        return DPOLoss(dap_algo=DAPAlgo[algo], **config)(*given)[0]

    return loss


@library.loss("dpo", "DPOLoss", topic="dpo_smoothing", **MEAN)
def dpo() -> Callable[..., Any]:
    loss = _dpo("DPO")
    return lambda pairs, *, beta, label_smoothing: loss(pairs, beta=beta, label_smoothing=label_smoothing)


@library.loss("ipo", "DPOLoss, DAPAlgo.IPO", **MEAN)
def ipo() -> Callable[..., Any]:
    loss = _dpo("IPO")
    return lambda pairs, *, tau: loss(pairs, beta=tau)


@library.loss("hinge", "DPOLoss, DAPAlgo.SLiC", topic="hinge_kink", **MEAN)
def slic() -> Callable[..., Any]:
    loss = _dpo("SLiC")
    return lambda pairs, *, beta: loss(pairs, beta=beta)


@library.loss("r_dpo", "DPOLoss, DAPAlgo.LR_DPO, len_reg_alpha", topic="r_dpo_sign", **MEAN)
def lr_dpo() -> Callable[..., Any]:
    loss = _dpo("LR_DPO")
    return lambda pairs, *, beta, alpha: loss(pairs, beta=beta, len_reg_alpha=alpha)


@library.loss("dpop", "DPOLoss, dpo_positive_lambda", **MEAN)
def dpop() -> Callable[..., Any]:
    loss = _dpo("DPO")
    return lambda pairs, *, beta, penalty: loss(pairs, beta=beta, dpo_positive_lambda=penalty)


def _simpo(loss_type: str) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        import torch

        with reading(*LOSS):
            from oat.learners.loss import SimPOLoss

        def call(pairs: Pairs, *, beta: float, gamma_beta_ratio: float | None, label_smoothing: float = 0.0) -> Any:
            this = SimPOLoss(beta, 0.25 if gamma_beta_ratio is None else gamma_beta_ratio, label_smoothing, loss_type)
            sides = (pairs.chosen, pairs.chosen_len), (pairs.rejected, pairs.rejected_len)
            return this(*(sums / n.clamp(min=1) for sums, n in sides), torch.ones(len(pairs.chosen)))[0]

        return call

    return make


library.loss("simpo", "SimPOLoss", given="means per token", topic="simpo_smoothing", **MEAN)(_simpo("sigmoid"))
library.loss(
    "simpo", "SimPOLoss, loss_type='hinge'", given="means per token", does="is the hinge max(0, 1 - z)",
    settings={"link": "hinge", "label_smoothing": 0.0}, **MEAN,
)(_simpo("hinge"))  # fmt: skip


@library.fact(
    "The learner gives IPO and LR_DPO means per token, and SLiC and DPO sums: of two tokens, each one of four.",
    gives=[-1.386294, -1.386294, -2.772589, -2.772589], objective="ipo", topic="ipo_sum_or_mean",
)  # fmt: skip
def learner_log_probs() -> list[float]:
    found = []
    for algo in ("IPO", "LR_DPO", "SLiC", "DPO"):
        learner, data = _learner(algo)
        found.append(float(learner.concatenated_forward(learner.model, *data)[0]))
    return found


def _learner(algo: str) -> tuple[Any, Any]:
    """A learner of XPO whose model likes all tokens alike, and a pair of two tokens behind a prompt of one."""
    from types import SimpleNamespace

    import torch

    from poz.peers._checkouts import made

    with reading(*STEP):
        from oat.algorithms.xpo import XPOLearner
        from oat.types import DAPAlgo

    def model(ids: Any, attention_mask: Any) -> Any:
        return {"logits": torch.zeros(*ids.shape, 4)}

    ids = torch.zeros(1, 3, dtype=torch.long)
    learner = made(XPOLearner, algo=DAPAlgo[algo], model=model, tokenizer=SimpleNamespace(pad_token_id=0))
    return learner, (ids, ids + 1, ids, ids + 1, [1])


@library.fact(
    "XPO's first step raises.", gives="ValueError", right="a step", objective="xpo",
    because="`concatenated_forward` of its base class gives four values, and its loss takes the masks of the tokens too.",
)  # fmt: skip
@reading(*STEP)
def xpo_step() -> str:
    from unittest import mock

    import torch
    from oat.algorithms.xpo import XPOLearner
    from oat.types import DAPAlgo

    learner, ids = object.__new__(XPOLearner), torch.zeros(1, 1, 3, dtype=torch.long)
    vars(learner).update(algo=DAPAlgo.DPO, tokenizer=mock.Mock(pad_token_id=0))
    learner.model = lambda ids, attention_mask: {"logits": torch.zeros(*ids.shape, 4)}
    more = {"prompt_ids_lens": [1], "same_masks": [0], "chosen_ids": [0]}
    with mock.patch("torch.cuda.current_device", return_value="cpu"):
        try:
            learner.learning_step((ids, ids + 1, ids, ids + 1, more))
        except ValueError:
            return "ValueError"
    return "a step"


@library.fact(
    "Where the policy is the reference, as at the first step, `dpo_positive_lambda` has no slope: DPO's alone.",
    gives=-0.05, objective="dpop", topic="hinge_kink",
)  # fmt: skip
def dpop_slope_at_the_reference() -> float:
    import torch

    chosen = torch.zeros(1, requires_grad=True)
    _dpo("DPO")(Pairs(chosen, *[torch.zeros(1)] * 3), beta=0.1, dpo_positive_lambda=50.0).backward()
    return float(chosen.grad)  # type: ignore[arg-type]
