"""The repository of SamPO, LuJunru/SamPO: TRL's trainer of 2024 that draws as many tokens of both completions."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs, TokenPairs
from poz.peers._checkouts import made, reading, spread
from poz.peers._library import Library

library = Library("SamPO")
FILE = "dpo_trainer.py", "trl", "wandb"


def _loss(loss_type: str) -> Callable[..., Any]:
    with reading(*FILE):
        from dpo_trainer import DPOTrainer

    def loss(pairs: Pairs, *, beta: float, label_smoothing: float = 0.0, **more: Any) -> Any:
        here = SimpleNamespace(device="cpu")
        this = made(
            DPOTrainer, loss_type=loss_type, beta=beta, label_smoothing=label_smoothing, accelerator=here, **more
        )
        return this.dpo_loss(pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected)[0]

    return loss


@library.loss("dpo", "dpo_loss, loss_type='sigmoid'", topic="dpo_smoothing")
def sigmoid() -> Callable[..., Any]:
    loss = _loss("sigmoid")
    return lambda pairs, *, beta, label_smoothing: loss(pairs, beta=beta, label_smoothing=label_smoothing)


@library.loss("hinge", "dpo_loss, loss_type='hinge'")
def hinge() -> Callable[..., Any]:
    loss = _loss("hinge")
    return lambda pairs, *, beta: loss(pairs, beta=beta)


@library.loss("dpop", "dpo_loss, loss_type='dpop'")
def dpop() -> Callable[..., Any]:
    loss = _loss("dpop")
    return lambda pairs, *, beta, penalty: loss(pairs, beta=beta, dpop_lambda=penalty)


@library.loss("r_dpo", "dpo_loss, loss_type='lenN'", topic="r_dpo_sign")
def r_dpo() -> Callable[..., Any]:
    loss = _loss("lenN")

    def call(pairs: Pairs, *, beta: float, alpha: float) -> Any:
        chosen, rejected = spread(pairs.chosen, pairs.chosen_len)[1], spread(pairs.rejected, pairs.rejected_len)[1]
        return loss(pairs, beta=beta, lenN_lambda=alpha, chosen_loss_mask=chosen, rejected_loss_mask=rejected)

    return call


@library.loss("tdpo", "tdpo_loss", given="sums over the tokens")
def tdpo() -> Callable[..., Any]:
    import torch

    with reading(*FILE):
        from dpo_trainer import DPOTrainer

    def call(pairs: TokenPairs, *, beta: float, alpha: float) -> Any:
        sums: dict[str, Any] = {}
        for side in ("chosen", "rejected"):
            own, ref, kl, mask = (getattr(pairs, name) for name in (side, f"ref_{side}", f"{side}_kl", f"{side}_mask"))
            mask = torch.ones_like(own, dtype=torch.bool) if mask is None else mask.bool()
            sums[side], sums[f"{side}_kl"] = (torch.where(mask, x, 0.0).sum(-1) for x in (own - ref, kl))
        this = made(DPOTrainer, beta=beta, tdpo_alpha=alpha)
        return this.tdpo_loss(sums["chosen"], sums["rejected"], sums["chosen_kl"], sums["rejected_kl"])[0]

    return call


@library.fact(
    "Policy and reference draw tokens of their own: under one and the same model, log-ratios of a completion of 99 tokens "
    "beside one of 9 are not 0.",
    gives="not 0", objective="sampo", topic="sampo_subset",
)  # fmt: skip
@reading(*FILE)
def log_ratio_of_one_model() -> str:
    import torch
    from dpo_trainer import DPOTrainer

    torch.manual_seed(0)
    logits, labels = torch.randn(2, 100, 8), torch.zeros(2, 100, dtype=torch.long)
    labels[:, 0] = labels[1, 10:] = -100
    policy, reference = (DPOTrainer.get_batch_logps(logits, labels.clone(), len_norm=True)[0] for _ in range(2))
    return "0" if (policy == reference)[0] else "not 0"


@library.fact(
    "`kto_pair` takes the mean log-ratio of the batch's other side for K, with a gradient: losses of log-ratios 1 and -1.",
    gives=[0.4750208, 0.450166], topic="kto_in_dpo",
)  # fmt: skip
def kto_pair() -> list[float]:
    import torch

    return _loss("kto_pair")(Pairs(torch.ones(1), -torch.ones(1), *[torch.zeros(1)] * 2), beta=0.1).tolist()  # type: ignore[no-any-return]


@library.fact(
    "The baseline of `bco_pair` moves by the mean of each batch, one number, however many pairs that has.",
    gives=[[], 0.25], objective="bco", topic="bco_baseline",
)  # fmt: skip
def bco_baseline() -> list[Any]:
    import torch

    given: list[Any] = []
    running = SimpleNamespace(update=given.append, mean=0.0)
    _loss("bco_pair")(Pairs(torch.tensor([1.0, 0.0]), *[torch.zeros(2)] * 3), beta=1.0, running=running)
    return [list(given[0].shape), float(given[0])]


@library.fact(
    "Where the policy is the reference, as at the first step, `dpop` has half the slope of its penalty: 26 times that of DPO.",
    gives=-1.3, objective="dpop", topic="hinge_kink",
)  # fmt: skip
def dpop_slope_at_the_reference() -> float:
    import torch

    chosen = torch.zeros(1, requires_grad=True)
    _loss("dpop")(Pairs(chosen, *[torch.zeros(1)] * 3), beta=0.1, dpop_lambda=50.0).backward()
    return float(chosen.grad)  # type: ignore[arg-type]
