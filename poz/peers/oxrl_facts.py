"""oxRL: what it gets wrong, and on which side it is where libraries disagree."""

from collections.abc import Callable
from typing import Any

from poz.peers._library import Library

library = Library("oxRL", "oxrl")
NAN = float("nan")


@library.log_probs("DPO.compute_logps", logits=True)
def _log_probs() -> Callable[..., Any]:
    from oxrl.algs import DPO

    def call(logits: Any, targets: Any) -> Any:
        mask = (targets != -100).to(logits.dtype)
        return DPO(None, None, None).compute_logps(logits[:, None], targets[:, None].clamp(min=0), mask[:, None])

    return call


@library.fact(
    "R-DPO has the opposite sign of α, which rewards length",
    gives=1.3132617,
    right=0.3132617,
    because="The reward r - α n has the optimum π_ref exp((r - α n)/β), so βh + α (|y_w| - |y_l|) is the difference of r; "
    "and its docstring says that shorter chosen ones get more weight, which is so with this sign alone.",
    objective="r_dpo",
    topic="r_dpo_sign",
)
def r_dpo_sign() -> Any:
    """The reference itself, a chosen completion of ten tokens and an empty rejected one, α = 0.1."""
    import torch
    from oxrl.algs import RDPO

    zero, lengths = torch.zeros(1), (torch.tensor([10.0]), torch.tensor([0.0]))
    return RDPO(None, None, None, alpha=0.1).compute_loss(zero, zero, zero, zero, *lengths)[0].item()


@library.fact(
    "Robust DPO adds the loss of the flipped pair, and so is DPO with smoothed labels over 1 - 2ε",
    gives=1.1265234,
    right=-0.1867383,
    because="Unbiased, as its docstring says that it is, is ((1 - ε) L(z) - ε L(-z)) / (1 - 2ε): its mean over flips with "
    "probability ε is L(z).",
    objective="robust_dpo",
)
def robust_dpo_sign() -> Any:
    """A margin of 1, β = 1, ε = 1/4."""
    import torch
    from oxrl.algs import RobustDPO

    one, zero = torch.ones(1), torch.zeros(1)
    return RobustDPO(None, None, None, beta=1.0, label_smoothing=0.25).compute_loss(one, zero, zero, zero)[0].item()


@library.fact(
    "`forward_kl` adds e^-a to the reward a, in place of having -e^-a",
    gives=0.5260298,
    right=0.4262239,
    because="f(u) = -log u has f'(e^a) = -e^-a, whose difference is 1 - 1/e.",
    objective="f_dpo",
    topic="focal_names",
)
def f_dpo_forward_kl() -> Any:
    """Log-ratios of 1 and 0, β = 1."""
    import torch
    from oxrl.algs import FDPO

    one, zero = torch.ones(1), torch.zeros(1)
    f_dpo = FDPO(None, None, None, beta=1.0, fdpo_divergence="forward_kl")
    return f_dpo.compute_loss(one, zero, zero, zero)[0].item()


@library.fact(
    "`alpha_divergence` has no β, nor has half of `js_divergence`",
    gives=[0.3751683, 0.3751683],
    right=[0.3751683, 0.6545741],
    because="The reward is β f'(e^a), with f'(e^a) = (1 - e^(-α a)) / α.",
    objective="f_dpo",
    topic="focal_names",
)
def f_dpo_beta() -> Any:
    """Log-ratios of 1 and 0, α = 1/2; β = 1, then 0.1."""
    import torch
    from oxrl.algs import FDPO

    one, zero = torch.ones(1), torch.zeros(1)
    each = [FDPO(None, None, None, beta=beta, fdpo_divergence="alpha_divergence") for beta in (1.0, 0.1)]
    return [f_dpo.compute_loss(one, zero, zero, zero)[0].item() for f_dpo in each]


@library.fact(
    "KTO is -log σ(±β (a - K)), the logistic form",
    gives=0.6931472,
    right=0.5,
    because="Eq. 7 of arXiv:2402.01306 is 1 - σ(β (a - K)) of a good completion, without a logarithm.",
    objective="kto",
)
def kto_is_logistic() -> Any:
    """A good completion at the reference."""
    import torch
    from oxrl.algs import KTO

    return KTO(None, None, None).compute_loss(torch.zeros(1), torch.zeros(1), torch.ones(1), 1).item()


@library.fact(
    "KTO's K is an average, 0.1 of each batch, of the mean log-ratio of the chosen completions, below 0 too",
    gives=-0.2,
    objective="kto",
    topic="kto_baseline",
)
def kto_baseline() -> float:
    """A chosen completion of log-ratio -2 and a rejected one of 4, at the first step."""
    import torch
    from oxrl.algs import KTO

    kto = KTO(None, None, None)
    kto.compute_loss(torch.tensor([-2.0, 4.0]), torch.zeros(2), torch.tensor([1.0, -1.0]), 1)
    return float(kto.kl_ema)


@library.fact(
    "DiscoPOP is NaN in float32 where the pair is misjudged by more than 88.7 nats over β",
    gives=NAN,
    right=90.0,
    because="exp(90) is infinite in float32, and its weight sigmoid(-90 / 0.05) is 0: the loss is softplus(90).",
    objective="discopop",
)
def discopop_overflow() -> Any:
    """A margin of -90, β = 1."""
    import torch
    from oxrl.algs import DiscoPOP

    zero = torch.zeros(1)
    return DiscoPOP(None, None, None, beta=1.0).compute_loss(zero - 90, zero, zero, zero)[0].item()


@library.fact(
    "An empty completion counts as one token in SimPO, and ORPO divides by its length, 0",
    gives=[0.0, NAN],
    topic="empty_mean",
)
def empty_mean() -> Any:
    """SimPO's mean log-prob of no token, and ORPO's term of the odds with an empty chosen completion."""
    import torch
    from oxrl.algs import ORPO, SimPO

    logits, target, mask = torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1)
    zero, one = torch.zeros(1), torch.ones(1)
    _, _, odds = ORPO(None, None).compute_loss(zero, -one, zero, one, logits, target, mask)
    return [SimPO(None, None).compute_logps(logits, target, mask).item(), odds.item()]


@library.fact("The calibration of Cal-DPO weighs 1 by default", gives=1.0, objective="cal_dpo", topic="cal_dpo_weight")
def cal_dpo_weight() -> Any:
    """Its own default."""
    from oxrl.algs import CalDPO

    return CalDPO(None, None, None).caldpo_lambda


@library.fact("DiscoPOP's τ is 0.05 by default", gives=0.05, objective="discopop", topic="discopop_tau")
def discopop_tau() -> Any:
    """Its own default."""
    from oxrl.algs import DiscoPOP

    return DiscoPOP(None, None, None).discopop_tau


@library.fact("ORPO's λ is 0.1 by default, by the name beta", gives=0.1, objective="orpo", topic="orpo_weight")
def orpo_weight() -> Any:
    """Its own default."""
    from oxrl.algs import ORPO

    return ORPO(None, None).beta


@library.fact(
    "SamPO draws the tokens of the policy and of the reference apart, so that at the reference its loss is not log 2",
    gives=[3.0, 7.0],
    objective="sampo",
    topic="sampo_subset",
)
def sampo_subset() -> Any:
    """Of 64 draws of one token of three: how many different log-probs there are, and differences of two draws (1 if shared)."""
    import torch
    from oxrl.algs import SamPO

    tokens, one = torch.tensor([[-1.0, -2.0, -4.0]]).expand(64, 3), torch.zeros(64, 3)
    masks = torch.ones(64, 3), torch.tensor([[1.0, 0.0, 0.0]]).expand(64, 3)
    policy, ref = (SamPO(None, None, None).downsample_logps(tokens, one, *masks)[0] for _ in range(2))
    return [float(len(policy.unique())), float(len((policy - ref).unique()))]


@library.fact(
    "WPO divides by the sum of the weights: a batch of one pair weighs 1",
    gives=0.6931472,
    objective="wpo",
    topic="wpo_weight",
)
def wpo_weight() -> Any:
    """One pair at the reference, each token of log-prob -2."""
    import torch
    from oxrl.algs import WPO

    zero, mean = torch.zeros(1), torch.tensor([-2.0])
    return WPO(None, None, None).compute_loss(zero, zero, zero, zero, mean, mean)[0].item()


@library.fact(
    "FocalPO holds its weight σ(z)^γ constant, so that the slope keeps its sign",
    gives=-0.25,
    topic="focal_names",
)
def focal_po() -> Any:
    """By the log-prob of chosen at the reference, β = γ = 1; through the weight too it would be -0.0767."""
    import torch
    from oxrl.algs import FocalPO

    zero, chosen = torch.zeros(1), torch.zeros(1, requires_grad=True)
    loss = FocalPO(None, None, None, beta=1.0).compute_loss(chosen, zero, zero, zero)[0]
    return torch.autograd.grad(loss, chosen)[0].item()


@library.fact("SPO is -z σ(z), which has no lower bound", gives=[0.0, -99.0], topic="focal_names")
def spo() -> Any:
    """Margins of 0 and of 99, β = 1."""
    import torch
    from oxrl.algs import SPO

    zero = torch.zeros(1)
    return [SPO(None, None, None, beta=1.0).compute_loss(zero + z, zero, zero, zero)[0].item() for z in (0, 99)]


@library.fact(
    "C2-DPO is DPO and 2e-4, by default, of the square of the sum of both log-ratios",
    gives=0.6939472,
    topic="focal_names",
)
def c2_dpo() -> Any:
    """Both log-ratios 1."""
    import torch
    from oxrl.algs import C2DPO

    zero, one = torch.zeros(1), torch.ones(1)
    return C2DPO(None, None, None).compute_loss(one, one, zero, zero)[0].item()


@library.fact(
    "MinorDPO has a slope at its kink, by torch.clamp: at the reference rejected is pushed down",
    gives=0.05,
    objective="minor_dpo",
    topic="hinge_kink",
)
def minor_dpo_kink() -> Any:
    """By the log-prob of rejected at the reference, β = 0.1."""
    import torch
    from oxrl.algs import MinorDPO

    zero, rejected = torch.zeros(1), torch.zeros(1, requires_grad=True)
    loss = MinorDPO(None, None, None).compute_loss(zero, rejected, zero, zero)[0]
    return torch.autograd.grad(loss, rejected)[0].item()


@library.fact(
    "A reward model is trained without margins and without centering",
    gives=0.3132617,
    objective="bradley_terry",
    topic="reward_model",
)
def reward_model() -> Any:
    """Scores of 2 and 1."""
    import types

    import torch
    from oxrl.algs import RM

    return RM.compute_loss(types.SimpleNamespace(), torch.tensor([2.0]), torch.tensor([1.0]))[0].item()
