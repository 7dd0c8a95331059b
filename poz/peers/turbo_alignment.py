"""turbo-alignment: classes of losses that take a log-prob for each completion."""

from collections.abc import Callable
from typing import Any

from poz.families import Pairs
from poz.peers._checkouts import reading
from poz.peers._library import Library

library = Library("turbo-alignment")
FILE = (
    "turbo_alignment/trainers/dpo.py",
    *("cached_path", "clearml", "deepspeed", "loguru", "vllm", "wandb"),
    *(f"turbo_alignment.{one}" for one in ("common.logging", "common.tf", "modeling", "sequence_parallel", "settings")),
    *(f"turbo_alignment.trainers.{one}" for one in ("base_args", "classification", "custom_loss", "multigpu", "rm")),
)


def _loss(name: str) -> Callable[..., Any]:
    """`compute_loss` of the class, of pairs whose log-probs are sums or means, with its own hyper-parameters."""
    with reading(*FILE):
        from turbo_alignment.trainers import dpo

    def loss(pairs: Pairs, margins: Any = None, **config: Any) -> Any:
        given = [
            0 * pairs.chosen if x is None else x for x in pairs[:4]
        ]  # a reference is subtracted, whether it counts or not
        return getattr(dpo, name)(**config).compute_loss(*given, margins)[0]

    return loss


def _means(pairs: Pairs) -> Pairs:
    chosen, rejected = (n.clamp(min=1) for n in (pairs.chosen_len, pairs.rejected_len))
    return pairs._replace(chosen=pairs.chosen / chosen, rejected=pairs.rejected / rejected)


@library.loss("dpo", "SigmoidLoss", topic="dpo_smoothing")
def sigmoid() -> Callable[..., Any]:
    loss = _loss("SigmoidLoss")
    return lambda pairs, *, beta, label_smoothing: loss(pairs, beta=beta, label_smoothing=label_smoothing)


@library.loss("ipo", "IPOLoss, average_log_prob=False", topic="ipo_sum_or_mean")
def ipo() -> Callable[..., Any]:
    loss = _loss("IPOLoss")
    return lambda pairs, *, tau: loss(pairs, beta=tau)


@library.loss("hinge", "HingeLoss, norm=True")
def hinge() -> Callable[..., Any]:
    loss = _loss("HingeLoss")
    return lambda pairs, *, beta: loss(pairs, beta=beta, norm=True)


@library.loss("slic_hf", "SlicHfLoss", does="has no NLL of chosen", settings={"regularization_weight": 0.0})
def slic() -> Callable[..., Any]:
    loss = _loss("SlicHfLoss")
    return lambda pairs, *, delta: loss(pairs, delta=delta)


@library.loss("cpo", "CPOLoss, norm=False", does="has the summed NLL, of weight 1", settings={"nll": "sum"})
def cpo() -> Callable[..., Any]:
    loss = _loss("CPOLoss")
    return lambda pairs, *, beta: loss(pairs, beta=beta, norm=False)


@library.loss(
    "simpo",
    "SimPOLoss",
    does="calls γ/β `gamma`",
    given="means per token",
    topic="simpo_margin",
)
def simpo() -> Callable[..., Any]:
    loss = _loss("SimPOLoss")

    def call(pairs: Pairs, *, beta: float, gamma_beta_ratio: float | None) -> Any:
        return loss(_means(pairs), beta=beta, gamma=0.25 if gamma_beta_ratio is None else gamma_beta_ratio)

    return call


@library.loss(
    "orpo", "ORPOLoss", given="means per token", does="holds probabilities below 1 - 1e-7", topic="orpo_log_probs"
)
def orpo() -> Callable[..., Any]:
    loss = _loss("ORPOLoss")
    return lambda pairs, *, odds_weight: loss(_means(pairs), lambda_=odds_weight)


for name, objective in [("APODownLoss", "apo_down"), ("APOZeroLoss", "apo_zero")]:

    @library.loss(objective, name)
    def apo(name: str = name) -> Callable[..., Any]:
        loss = _loss(name)
        return lambda pairs, *, beta: loss(pairs, beta=beta)


@library.loss("dpop", "DPOPLoss")
def dpop() -> Callable[..., Any]:
    loss = _loss("DPOPLoss")
    return lambda pairs, *, beta, penalty: loss(pairs, beta=beta, lam=penalty)


@library.loss(
    "cal_dpo", "CALDPOLoss", does="weighs the calibration by 1", settings={"calibration_weight": 1.0}, reduction="mean",
    topic="cal_dpo_weight",
)  # fmt: skip
def cal_dpo() -> Callable[..., Any]:
    loss = _loss("CALDPOLoss")
    return lambda pairs, *, beta: loss(pairs, beta=beta).mean()


@library.loss(
    "odpo", "SigmoidLossWithMargin", does="takes the offset as it is, margin DPO", settings={"offset": "linear"},
    given="α times the margin",
)  # fmt: skip
def margin() -> Callable[..., Any]:
    loss = _loss("SigmoidLossWithMargin")
    return lambda pairs, *, beta, alpha: loss(pairs, alpha * pairs.margin, beta=beta)


@library.fact(
    "KTO of pairs: K is the mean log-ratio of the batch's other side, clamped at 0, with a gradient: losses of log-ratios 1, -1, "
    "then the slope by the chosen one.",
    gives=[0.475021, 0.450166, -0.04968926], topic="kto_in_dpo",
)  # fmt: skip
def kto() -> list[float]:
    import torch

    one, none = torch.tensor([1.0], requires_grad=True), torch.tensor([0.0])
    losses = _loss("KTOLoss")(Pairs(one, -torch.ones(1), none, none), beta=0.1)
    losses.sum().backward()
    return [*losses.tolist(), float(one.grad)]  # type: ignore[arg-type]
