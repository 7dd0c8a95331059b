"""NeMo-RL: what its losses and its advantages do on one small input."""

from __future__ import annotations

import math
from typing import Any

from poz.peers._checkouts import reading
from poz.peers._library import Library
from poz.peers.nemo_rl import FILE

library = Library("NeMo-RL")
SOURCE = "https://github.com/NVIDIA-NeMo/RL/blob/main/nemo_rl/algorithms/"
G = "group_advantage"


@library.fact(
    "By default the mean and the deviation are those of the others of the group, and where these are equal nothing is "
    "divided: rewards 1, 0, 0, 0, then without leave-one-out.",
    gives=[1.0, -0.5773493, 1.499997, -0.499999], topic=G,
)  # fmt: skip
@reading(*FILE)
def grpo() -> Any:
    import torch
    from nemo_rl.algorithms.advantage_estimator import AdvEstimatorConfig, GRPOAdvantageEstimator

    rewards, found = torch.tensor([1.0, 0.0, 0.0, 0.0]), []
    for out in (True, False):
        estimator = GRPOAdvantageEstimator(AdvEstimatorConfig(use_leave_one_out_baseline=out), None)
        found += estimator.compute_advantage(torch.zeros(4, 1), rewards, torch.ones(4, 1))[:2, 0].tolist()
    return found


@library.fact("The only completion of a group has an advantage of 0.", gives=0.0, topic=G)
@reading(*FILE)
def group_of_one() -> Any:
    import torch
    from nemo_rl.algorithms.advantage_estimator import AdvEstimatorConfig, GRPOAdvantageEstimator

    one = torch.ones(1, 1)
    return GRPOAdvantageEstimator(AdvEstimatorConfig(), None).compute_advantage(one, torch.tensor([2.0]), one).item()


@library.fact(
    "Where the others of a group have one reward, their deviation is rounding, and is divided by: of rewards 0, 0.9, 0.9, 0.9 "
    "the first has an advantage of -2123.",
    gives=-2123.3225, right=-0.9, topic=G, link="https://github.com/NVIDIA-NeMo/RL/pull/4158",
    because="The deviation of 0.9, 0.9, 0.9 is 0; 'don't sharpen the ones with no variation' is said where it is divided.",
)  # fmt: skip
@reading(*FILE)
def equal_rewards_spike() -> Any:
    import torch
    from nemo_rl.algorithms.advantage_estimator import AdvEstimatorConfig, GRPOAdvantageEstimator

    rewards, one = torch.tensor([0.0, 0.9, 0.9, 0.9]), torch.ones(4, 1)
    estimator = GRPOAdvantageEstimator(AdvEstimatorConfig(), None)
    return estimator.compute_advantage(torch.zeros(4, 1), rewards, one)[0, 0].item()


@library.fact(
    "The deviation is √(E[x²] - E[x]²) in float32, of which nothing is left for rewards of 1000, 1000.1, 1000.2, 1000.3, so that "
    "nothing is divided; without leave-one-out.",
    gives=[-0.1500244, 0.1499634], right=[-1.1618950, 1.1618950], topic=G, link=f"{SOURCE}utils.py",
    because="Their mean is 1000.15 and their deviation 0.129, and float32 has them to 3e-5.",
)  # fmt: skip
@reading(*FILE)
def deviation_is_cancelled() -> Any:
    import torch
    from nemo_rl.algorithms.advantage_estimator import AdvEstimatorConfig, GRPOAdvantageEstimator

    rewards, one = torch.tensor([1000.0, 1000.1, 1000.2, 1000.3]), torch.ones(4, 1)
    estimator = GRPOAdvantageEstimator(AdvEstimatorConfig(use_leave_one_out_baseline=False), None)
    return estimator.compute_advantage(torch.zeros(4, 1), rewards, one)[[0, 3], 0].tolist()


@library.fact(
    "REINFORCE++ whitens over all tokens with ddof 0: rewards 1, 0, 0, 0.", gives=[1.7320508, -0.5773503], topic=G
)
@reading(*FILE)
def reinforce_plus_plus() -> Any:
    import torch
    from nemo_rl.algorithms.advantage_estimator import AdvEstimatorConfig, ReinforcePlusPlusAdvantageEstimator
    from nemo_rl.algorithms.loss import ClippedPGLossConfig

    rewards, one = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.ones(4, 1)
    estimator = ReinforcePlusPlusAdvantageEstimator(AdvEstimatorConfig(), ClippedPGLossConfig())
    return estimator.compute_advantage(torch.zeros(4, 1), rewards, one)[:2, 0].tolist()


@library.fact(
    "GDPO whitens the sum of normalised rewards over completions with ddof 1: two rewards, of which the second is 0.",
    gives=[0.7071068, -0.7071068], topic=G,
)  # fmt: skip
@reading(*FILE)
def gdpo() -> Any:
    import torch
    from nemo_rl.algorithms.advantage_estimator import AdvEstimatorConfig, GDPOAdvantageEstimator

    rewards = {"reward/a": torch.tensor([1.0, 0.0]), "reward/b": torch.zeros(2)}
    mask, estimator = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), GDPOAdvantageEstimator(AdvEstimatorConfig(), None)
    return estimator.compute_advantage(torch.zeros(2, 1), None, mask, rewards)[:, 0].tolist()


@library.fact(
    "GAE skips a token that the policy has not written: advantages of a last reward 1 with values of 0 and γ λ 0.25.",
    gives=[0.25, 1.0],
)  # fmt: skip
@reading(*FILE)
def gae_skips_holes() -> Any:
    import torch
    from nemo_rl.algorithms.advantage_estimator import GeneralizedAdvantageEstimator
    from nemo_rl.algorithms.loss import ClippedPGLossConfig

    half = dict.fromkeys(("gae_gamma", "gae_lambda", "gae_lambda_value", "gae_lambda_policy"), 0.5)
    config = {**half, "normalize_advantages": False, "length_adaptive_alpha": 0}
    mask, estimator = torch.tensor([[1, 0, 1]]), GeneralizedAdvantageEstimator(config, ClippedPGLossConfig())
    found = estimator.compute_advantage(None, torch.tensor([1.0]), mask, torch.zeros(1, 3))[0]
    return found[0, [0, 2]].tolist()


def _data(torch: Any, old: Any, mask: Any, advantage: float = 1.0) -> Any:
    """What ClippedPGLossFn reads: a first token of a prompt, and completions under these policies."""
    data = {"token_mask": mask, "prev_logprobs": old, "generation_logprobs": old, "advantages": 0 * mask + advantage}
    return {n: torch.nn.functional.pad(x, (1, 0)) for n, x in data.items()} | {"sample_mask": torch.ones(len(old))}


@library.fact(
    "A completion without a token counts in the mean over completions: one of two is empty.",
    gives=-0.5, topic="empty_completion",
)  # fmt: skip
@reading(*FILE)
def one_of_two_is_empty() -> Any:
    import torch
    from nemo_rl.algorithms.loss import ClippedPGLossConfig, ClippedPGLossFn

    x, mask = torch.zeros(2, 3), torch.tensor([[1.0] * 3, [0.0] * 3])
    loss = ClippedPGLossFn(ClippedPGLossConfig(reference_policy_kl_penalty=0.0, token_level_loss=False))
    return loss(x, _data(torch, x, mask), torch.tensor(2), torch.tensor(3))[0].item()


@library.fact("A micro-batch without a token has a loss of 0.", gives=0.0)
@reading(*FILE)
def nothing_but_padding() -> Any:
    import torch
    from nemo_rl.algorithms.loss import ClippedPGLossConfig, ClippedPGLossFn

    x = torch.zeros(1, 3)
    loss = ClippedPGLossFn(ClippedPGLossConfig(reference_policy_kl_penalty=0.0))
    return loss(x, _data(torch, x, x), torch.tensor(1), torch.tensor(0))[0].item()


@library.fact(
    "Two micro-batches of one and of three tokens, with log-probs 1 and 2, 3, 4, add up to the mean of the whole.",
    gives=[-2.5, -2.5], topic="accumulation",
)  # fmt: skip
@reading(*FILE)
def micro_batches_add_up() -> Any:
    import torch
    from nemo_rl.algorithms.loss import ClippedPGLossConfig, ClippedPGLossFn

    x, mask = torch.tensor([[1.0, 0, 0], [2, 3, 4]]), torch.tensor([[1.0, 0, 0], [1, 1, 1]])
    loss = ClippedPGLossFn(ClippedPGLossConfig(reference_policy_kl_penalty=0.0, disable_ppo_ratio=True))
    of = lambda i: loss(x[i], _data(torch, x[i], mask[i]), torch.tensor(2), torch.tensor(4))[0].item()  # noqa: E731
    return [of([0]) + of([1]), of([0, 1])]


@library.fact(
    "The log-ratio is not clamped: the log of the loss at 25 with advantage -1.", gives=25.0, objective="ppo_clip"
)
@reading(*FILE)
def log_ratio_of_25() -> Any:
    import torch
    from nemo_rl.algorithms.loss import ClippedPGLossConfig, ClippedPGLossFn

    x, one = torch.zeros(1, 1), torch.ones(1, 1)
    loss = ClippedPGLossFn(ClippedPGLossConfig(reference_policy_kl_penalty=0.0))
    return loss(x, _data(torch, x - 25, one, -1.0), torch.tensor(1), torch.tensor(1))[0].log().item()


@library.fact(
    "The gradient is NaN where the log-ratio is 100, though the ratio is clipped.",
    gives="nan", right="0.0", objective="ppo_clip", link=f"{SOURCE}loss/loss_functions.py",
    because="With advantage 1 the clipped ratio, 1.2, is the smaller one, and it is a constant.",
)  # fmt: skip
@reading(*FILE)
def gradient_overflows() -> Any:
    import torch
    from nemo_rl.algorithms.loss import ClippedPGLossConfig, ClippedPGLossFn

    x = torch.zeros(1, 1, requires_grad=True)
    one, old = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, -100.0]])
    data = {"token_mask": one, "advantages": one, "prev_logprobs": old, "generation_logprobs": old}
    loss = ClippedPGLossFn(ClippedPGLossConfig(reference_policy_kl_penalty=0.0))
    loss(x, data | {"sample_mask": torch.ones(1)}, torch.tensor(1), torch.tensor(1))[0].backward()
    return str(abs(x.grad.item()))  # type: ignore[union-attr]


@library.fact(
    "A NaN under the mask makes the loss NaN.", gives="nan", right="-1.0", objective="ppo_clip",
    link=f"{SOURCE}loss/loss_functions.py", because="What is under the mask is no token.",
)  # fmt: skip
@reading(*FILE)
def nan_under_the_mask() -> Any:
    import torch
    from nemo_rl.algorithms.loss import ClippedPGLossConfig, ClippedPGLossFn

    zero, data = torch.zeros(1, 3), {"token_mask": torch.tensor([[0.0, 1.0, 0.0]]), "advantages": torch.ones(1, 3)}
    data |= {"prev_logprobs": zero, "generation_logprobs": zero, "sample_mask": torch.ones(1)}
    loss = ClippedPGLossFn(ClippedPGLossConfig(reference_policy_kl_penalty=0.0))
    new = torch.tensor([[0.0, float("nan")]])
    return str(loss(new, data, torch.tensor(1), torch.tensor(1))[0].item())


@library.fact(
    "Values and slopes of k1, k2, k3 at log π_ref - log π = 0.5, as the loss weighs them: the slope of their expectation, "
    "which for k3 is that of k2.",
    gives=[[-0.5, 0.5], [0.125, -0.375], [0.1487213, -0.5]], objective="grpo", topic="kl_estimator",
)  # fmt: skip
@reading(*FILE)
def kl_estimators() -> Any:
    import torch
    from nemo_rl.algorithms.utils import calculate_kl

    found = []
    for kind in ("k1", "k2", "k3"):
        new = torch.tensor([-1.0], requires_grad=True)
        weight = torch.exp(new - new.detach())
        value = calculate_kl(new, torch.tensor([-0.5]), kind, importance_sampling_weights=weight)
        value.backward()
        found.append([value.item(), new.grad.item()])  # type: ignore[union-attr]
    return found


@library.fact(
    "k3 is capped at 10 with no gradient beyond: a policy 20 times below the reference is not held to it.",
    gives=[10.0, 0.0], objective="grpo", topic="kl_estimator",
)  # fmt: skip
@reading(*FILE)
def k3_ends_at_10() -> Any:
    import torch
    from nemo_rl.algorithms.utils import calculate_kl

    new = torch.tensor([-4.0], requires_grad=True)
    value = calculate_kl(new, new.detach() + math.log(20))
    value.backward()
    return [value.item(), new.grad.item()]  # type: ignore[union-attr]


@library.fact(
    "Completions are chosen and rejected in turns; a reward model has -log σ of the difference, without a margin.",
    gives=[0.3132617, [1.0, 2.0], [0.0, 1.0]], objective="bradley_terry", topic="layout",
)  # fmt: skip
@reading(*FILE)
def chosen_and_rejected_in_turns() -> Any:
    import torch
    from nemo_rl.algorithms.loss import PreferenceLossFn

    scores, loss = torch.tensor([1.0, 0.0, 2.0, 1.0]), PreferenceLossFn()
    chosen, rejected = loss.split_output_tensor(scores)
    value, _ = loss(scores[:, None], {"sample_mask": torch.ones(4)}, torch.tensor(4), None)
    return [value.item(), chosen.tolist(), rejected.tolist()]


@library.fact("The mean of a completion without tokens is 0.", gives=0.0, objective="sft", topic="empty_mean")
@reading(*FILE)
def mean_of_nothing() -> Any:
    import torch
    from nemo_rl.algorithms.loss import DPOLossConfig, DPOLossFn

    loss = DPOLossFn(DPOLossConfig(sft_loss_weight=1.0, preference_loss_weight=0.0, sft_average_log_probs=True))
    data = {
        "token_mask": torch.zeros(2, 2),
        "reference_policy_logprobs": torch.zeros(2, 2),
        "sample_mask": torch.ones(2),
    }
    return loss(torch.zeros(2, 1), data, torch.tensor(2), torch.tensor(0))[0].item()
