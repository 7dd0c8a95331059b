"""Liger-Kernel: what it does on one small input, and what it gets wrong."""

from typing import Any

from poz.peers._library import Library

library = Library("Liger", "liger-kernel")


@library.fact(
    "SimPO subtracts gamma from β times the difference of means: γ, no ratio to β",
    gives=0.9740769,
    topic="simpo_margin",
    objective="simpo",
)
def simpo_margin() -> Any:
    """A tie: softplus(γ)."""
    import torch
    from liger_kernel.chunked_loss.simpo_loss import LigerFusedLinearSimPOFunction

    tie, target = torch.tensor([-1.0]), torch.zeros(2, 1)
    return LigerFusedLinearSimPOFunction.preference_loss_fn(tie, tie, target, beta=0.1, gamma=0.5)[0].item()


@library.fact(
    "LigerFusedLinearSimPOLoss has β = 0.1 and γ = 0.5, and adds the NLL of chosen, unless told otherwise",
    gives=[0.1, 0.5, 1.0, "True"],
    topic="simpo_nll",
    objective="simpo",
)
def simpo_defaults() -> Any:
    """β, γ, the weight of the NLL, and whether there is one."""
    from liger_kernel.chunked_loss import LigerFusedLinearSimPOLoss

    loss = LigerFusedLinearSimPOLoss()
    return [loss.beta, loss.gamma, loss.alpha, str(loss.compute_nll_loss)]


@library.fact(
    "ORPO's NLL is of the tokens of `nll_target`, so of the prompt too where it has them; else of the completion",
    gives=[0.693147, 1.386294],
    topic="orpo_nll",
    objective="orpo",
)
def orpo_nll() -> Any:
    """A prompt token of probability 1/8 and a completion token of 1/2, in nats per token."""
    import torch
    from liger_kernel.chunked_loss import LigerFusedLinearORPOLoss

    hidden = torch.tensor([[1 / 8, 7 / 8], [1 / 2, 1 / 2]]).log().repeat(2, 1, 1)
    target = torch.tensor([[-100, 0], [-100, 0]])
    loss = LigerFusedLinearORPOLoss(compiled=False)
    nlls = [
        loss(torch.eye(2), hidden, target, nll_target=t)[1][4] for t in (None, torch.zeros(2, 2, dtype=torch.int64))
    ]
    return [nll.item() for nll in nlls]


@library.fact(
    "`exo_pair` refuses a label_smoothing of 0, which is its default",
    gives="label_smoothing must be > 0 for loss_type='exo_pair'. The EXO paper recommends 1e-3.",
    topic="exo_zero",
    objective="exo",
)
def exo_zero() -> Any:
    """What it says."""
    from liger_kernel.chunked_loss import LigerFusedLinearDPOLoss

    try:
        LigerFusedLinearDPOLoss(loss_type="exo_pair")
    except ValueError as error:
        return str(error)
    return "accepted"


@library.fact("`ipo` is refused", gives="NotImplementedError", topic="ipo_sum_or_mean", objective="ipo")
def ipo() -> Any:
    """What it raises."""
    import torch
    from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction

    one = torch.tensor([-1.0])
    try:
        LigerFusedLinearDPOFunction.preference_loss_fn(one, one, torch.zeros(2, 1), loss_type="ipo")
    except NotImplementedError as error:
        return type(error).__name__
    return "computed"


@library.fact(
    "`sppo_hard` is (a - 1/(2β))² + (b + 1/(2β))², twice SPPO with win rates of 1 and 0",
    gives=25.0,
    objective="sppo",
)
def sppo_hard() -> Any:
    """a = 1, b = -2, β = 0.1."""
    import torch
    from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction

    a, b = torch.tensor([1.0]), torch.tensor([-2.0])
    loss, *_ = LigerFusedLinearDPOFunction.preference_loss_fn(a, b, torch.zeros(2, 1), loss_type="sppo_hard", beta=0.1)
    return loss.item()


@library.fact(
    "`nca_pair` is NCA of two completions, of which the chosen one has the whole weight",
    gives=1.315664,
    objective="nca",
)
def nca_pair() -> Any:
    """a = 1, b = -2, β = 0.1."""
    import torch
    from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction

    a, b = torch.tensor([1.0]), torch.tensor([-2.0])
    loss, *_ = LigerFusedLinearDPOFunction.preference_loss_fn(a, b, torch.zeros(2, 1), loss_type="nca_pair", beta=0.1)
    return loss.item()


@library.fact("The slope of the hinge at its kink is 0", gives=0.0, topic="hinge_kink", objective="hinge")
def hinge_kink() -> Any:
    """The slope in chosen at a margin of 1."""
    import torch
    from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction

    a, b = torch.ones(1, requires_grad=True), torch.zeros(1)
    loss, *_ = LigerFusedLinearDPOFunction.preference_loss_fn(a, b, torch.zeros(2, 1), beta=1.0, loss_type="hinge")
    return torch.autograd.grad(loss, a)[0].item()


@library.fact(
    "KTO divides the sum of the losses by the rows of the whole batch, and leaves no NaN out",
    gives=[0.25, float("nan")],
    topic="kto_reduction",
    objective="kto",
)
def kto_reduction() -> Any:
    """One of two rows, at the reference; and the same beside a NaN."""
    import torch
    from liger_kernel.chunked_loss.kto_loss import LigerFusedLinearKTOFunction

    rows = torch.tensor([0.0]), torch.tensor([0.0, float("nan")])
    loss = LigerFusedLinearKTOFunction.preference_loss_fn
    return [loss(x, torch.ones(len(x), dtype=torch.bool), torch.zeros(2, 1))[0].item() for x in rows]


@library.fact("The rows of a batch are all chosen ones, then all rejected ones", gives=[-1.0, -2.0], topic="layout")
def layout() -> Any:
    """Four completions with log-probs -1 to -4: those that it takes for chosen."""
    import torch
    from liger_kernel.chunked_loss import LigerFusedLinearCPOLoss

    p = torch.tensor([-1.0, -2.0, -3.0, -4.0]).exp()
    hidden = torch.stack([p, 1 - p], -1).log()[:, None]
    loss = LigerFusedLinearCPOLoss(compiled=False)
    return loss(torch.eye(2), hidden, torch.zeros(4, 1, dtype=torch.int64))[1][0].tolist()


@library.fact(
    "A completion without tokens counts in the mean over completions",
    gives=-0.5,
    topic="empty_completion",
    objective="grpo",
)
def empty_completion() -> Any:
    """Two completions on-policy with an advantage of 1, one of them empty."""
    import torch
    from liger_kernel.chunked_loss.grpo_loss import LigerFusedLinearGRPOFunction

    logps, mask = torch.full((2, 1), -1.0), torch.tensor([[1.0], [0.0]])
    loss, _ = LigerFusedLinearGRPOFunction.ppo_loss_fn(logps, mask, torch.ones(2), mask, beta=0.0, loss_type="grpo")
    return loss.item()


@library.fact(
    "`cispo` takes epsilon_high for the cap itself, so that its default of 0.2 scales every gradient on-policy",
    gives=-0.2,
    topic="cispo_cap",
    objective="cispo",
)
def cispo_cap() -> Any:
    """The slope of one token on-policy with an advantage of 1, where a weight of 1 gives -1."""
    import torch
    from liger_kernel.chunked_loss.grpo_loss import LigerFusedLinearGRPOFunction

    logps, mask = torch.full((1, 1), -1.0, requires_grad=True), torch.ones(1, 1)
    loss, _ = LigerFusedLinearGRPOFunction.ppo_loss_fn(logps, mask, torch.ones(1), mask, beta=0.0, loss_type="cispo")
    return torch.autograd.grad(loss, logps)[0].item()
