"""OpenRLHF: what its functions do on one small input, its advantages, and its log-probs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poz.peers._library import Library
from poz.peers.openrlhf import imported

library = Library("OpenRLHF", "openrlhf")
SOURCE = "https://github.com/OpenRLHF/OpenRLHF/blob/main/openrlhf/"
PULL = "https://github.com/OpenRLHF/OpenRLHF/pull/"
G = "group_advantage"


def _fact(does: str, **rest: Any) -> Callable[[Callable[[], Any]], Any]:
    return lambda call: library.fact(does, **rest)(imported(call))


@library.log_probs("log_probs_from_logits, a target of -100 given as 0", logits=True)
@imported
def log_probs() -> Any:
    from openrlhf.models.utils import log_probs_from_logits

    return lambda logits, targets: log_probs_from_logits(logits, targets.clamp(min=0))


@_fact(
    "LogExpLoss is infinite where rejected is 100 above chosen, and its slope NaN.", objective="bradley_terry",
    gives=["inf", "nan"], right=["100.0", "-1.0"], topic="reward_model", link=f"{PULL}1278",
    because="log(1 + e^100) is 100 to seven digits, and its slope in chosen is -1.",
)  # fmt: skip
def log_exp_loss_overflows() -> Any:
    import torch
    from openrlhf.models import LogExpLoss

    chosen = torch.tensor([0.0], requires_grad=True)
    loss = LogExpLoss()(chosen, torch.tensor([100.0]))
    loss.backward()
    return [str(loss.item()), str(chosen.grad.item())]  # type: ignore[union-attr]


@_fact(
    "LogExpLoss takes a margin and leaves it out; PairWiseLoss subtracts it: equal scores, a margin of 1.",
    gives=[0.6931472, 1.3132617], right=[1.3132617, 1.3132617], objective="bradley_terry", topic="reward_model",
    because="Both are -log σ(chosen - rejected - margin) to their trainer, which gives them margin_loss_enable's margins.",
    link=f"{SOURCE}models/loss.py",
)  # fmt: skip
def log_exp_loss_ignores_the_margin() -> Any:
    import torch
    from openrlhf.models import LogExpLoss, PairWiseLoss

    zero, margin = torch.zeros(1), torch.ones(1)
    return [LogExpLoss()(zero, zero, margin).item(), PairWiseLoss()(zero, zero, margin).item()]


@_fact(
    "A NaN under the mask makes the policy loss NaN.", gives="nan", right="-1.0", link=f"{PULL}1240",
    because="What is under the mask is no token.", objective="ppo_clip",
)  # fmt: skip
def nan_under_the_mask() -> Any:
    import torch
    from openrlhf.models import PolicyLoss

    old, new, mask = torch.zeros(1, 2), torch.tensor([[0.0, float("nan")]]), torch.tensor([[1.0, 0.0]])
    return str(PolicyLoss()(new, old, torch.ones(1, 2), mask)[0].item())


@_fact(
    "The gradient of gspo is NaN where the mean log-ratio is 100, though the ratio is clipped; that of ppo is 0.",
    gives=["nan", "0.0"], right=["0.0", "0.0"], objective="gspo", link=f"{PULL}1293",
    because="With advantage 1 the clipped ratio, 1.2, is the smaller one, and it is a constant.",
)  # fmt: skip
def gspo_overflows() -> Any:
    import torch
    from openrlhf.models import PolicyLoss

    slopes = []
    for kind in ("gspo", "ppo"):
        new, one = torch.tensor([[0.0]], requires_grad=True), torch.ones(1, 1)
        PolicyLoss(policy_loss_type=kind)(new, new.detach() - 100, one, one)[0].backward()
        slopes.append(str(abs(new.grad.item())))  # type: ignore[union-attr]
    return slopes


@_fact(
    "The log-ratio of ppo is clamped at 20, with no gradient beyond: the log of the loss at 25 with advantage -1, and its slope.",
    gives=[20.0, 0.0], objective="ppo_clip",
)  # fmt: skip
def log_ratio_of_25() -> Any:
    import torch
    from openrlhf.models import PolicyLoss

    new, one = torch.tensor([[0.0]], requires_grad=True), torch.ones(1, 1)
    loss = PolicyLoss()(new, new.detach() - 25, -one, one)[0]
    loss.backward()
    return [loss.log().item(), new.grad.item()]  # type: ignore[union-attr]


@_fact(
    "Where the sampler is corrected for, gspo compares the policy with the sampler, not with the old policy, and masks "
    "nothing: a policy that is the old one, and 0.5 nats above the sampler, with and without.",
    gives=[1.6487213, 1.0], objective="gspo", topic="gspo_sampler",
)  # fmt: skip
def gspo_against_the_sampler() -> Any:
    import torch
    from openrlhf.models import PolicyLoss

    x, one = torch.zeros(1, 2), torch.ones(1, 2)
    losses = [PolicyLoss(policy_loss_type="gspo", is_correction_level=level) for level in ("seq", "off")]
    return [loss(x, x, -one, one, x - 0.5)[0].item() for loss in losses]


@_fact(
    "A completion without a token is left out of the mean over completions: one of two is empty.",
    gives=-1.0, topic="empty_completion",
)  # fmt: skip
def one_of_two_is_empty() -> Any:
    import torch
    from openrlhf.models import PolicyLoss

    x, mask = torch.zeros(2, 3), torch.tensor([[1.0] * 3, [0.0] * 3])
    return PolicyLoss(token_level_loss=False)(x, x, torch.ones(2, 3), mask)[0].item()


@_fact("A micro-batch without a token is NaN where no global count is given.", gives=float("nan"))
def nothing_but_padding() -> Any:
    import torch
    from openrlhf.models import aggregate_loss

    return aggregate_loss(torch.zeros(1, 3), torch.zeros(1, 3)).item()


@_fact(
    "Values and slopes of k1, k2, k3 at log π_ref - log π = 0.5: each has its own slope, and with unbiased_gradient all "
    "have that of k2, here times the ratio, 2, to the old policy.",
    gives=[[-0.5, 1.0], [0.125, -0.5], [0.1487213, -0.6487213], [-0.5, -1.0], [0.125, -1.0], [0.1487213, -1.0]],
    topic="kl_estimator", objective="grpo",
)  # fmt: skip
def kl_estimators() -> Any:
    import torch
    from openrlhf.models.utils import compute_approx_kl

    found, old = [], torch.tensor([-1.0]) - torch.tensor(2.0).log()
    for unbiased in (False, True):
        for kind in ("k1", "k2", "k3"):
            new = torch.tensor([-1.0], requires_grad=True)
            value = compute_approx_kl(new, torch.tensor([-0.5]), old, kind, unbiased)
            value.backward()
            found.append([value.item(), new.grad.item()])  # type: ignore[union-attr]
    return found


@_fact(
    "The KL of a token ends at 10, with no gradient beyond: k1 and k2 of a policy 12 nats above the reference, k3 of one 3 "
    "nats below.",
    gives=[[10.0, 0.0], [10.0, 0.0], [10.0, 0.0]], topic="kl_estimator", objective="grpo",
)  # fmt: skip
def kl_ends_at_10() -> Any:
    import torch
    from openrlhf.models.utils import compute_approx_kl

    found = []
    for kind, apart in (("k1", -12.0), ("k2", -12.0), ("k3", 3.0)):
        new = torch.tensor([-1.0], requires_grad=True)
        value = compute_approx_kl(new, new.detach() + apart, kl_estimator=kind)
        value.backward()
        found.append([value.item(), new.grad.item()])  # type: ignore[union-attr]
    return found


@_fact(
    "Micro-batches of a step, of one and of three tokens, are divided by the step's tokens, in which accumulation divides "
    "by 2 once more; ranks by those of all ranks, which takes back the mean over two.",
    gives=[2.5, 2.5, 0.5, 4.5], topic="accumulation",
)  # fmt: skip
def micro_batches_add_up() -> Any:
    from types import SimpleNamespace

    import torch
    from openrlhf.models import aggregate_loss
    from openrlhf.utils.loss_utils import iter_grad_accum_global_norm

    loss, mask = torch.tensor([[1.0, 0, 0], [2, 3, 4]]), torch.tensor([[1.0, 0, 0], [1, 1, 1]])
    steps = iter_grad_accum_global_norm([[0], [1]], SimpleNamespace(), 2, lambda i: mask[i])
    parts = [aggregate_loss(loss[i], mask[i], **counts) / 2 for i, counts in steps]
    ranks = [aggregate_loss(loss[i], mask[i], dp_size=2, batch_num_tokens=4).item() for i in ([0], [1])]
    return [sum(parts).item(), aggregate_loss(loss, mask).item(), *ranks]


@_fact("A batch of DPO is all chosen completions, then all rejected ones.", gives=[1, 1, 2, 2], topic="layout")
def chosen_come_first() -> Any:
    from types import SimpleNamespace

    import torch
    from openrlhf.trainer.dpo_trainer import DPOTrainer

    ids, trainer = torch.ones(2, 1, dtype=torch.int64), SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=0))
    return DPOTrainer.concatenated_inputs(trainer, ids, ids, 2 * ids, ids, [1, 1])[0].flatten().tolist()


@_fact("The mean of a completion without tokens is NaN.", gives=float("nan"), objective="sft", topic="empty_mean")
def mean_of_nothing() -> Any:
    import torch
    from openrlhf.trainer.dpo_trainer import DPOTrainer

    return DPOTrainer._get_batch_logps(None, torch.zeros(1, 2), torch.ones(1, 3), [3])[1].item()


@_fact(
    "A token that the policy has not written costs a step of discount: returns of a last reward 1 with γ 0.5, and with γ λ "
    "0.25 for gae.",
    gives=[0.25, 0.5, 1.0, 0.0625, 0.25, 1.0],
)  # fmt: skip
def holes_are_not_skipped() -> Any:
    import torch
    from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker as Maker

    rewards, mask = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    returns = Maker.get_cumulative_returns(None, rewards, mask, 0.5)
    gae = Maker.get_advantages_and_returns(None, torch.zeros(1, 3), rewards, mask, 0.5, 0.5)[1]
    return [*returns.flatten().tolist(), *gae.flatten().tolist()]
