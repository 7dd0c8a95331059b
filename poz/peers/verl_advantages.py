"""verl: the advantages that it makes of a few rewards."""

from typing import Any

from poz.peers._library import Library

library = Library("verl", "verl")

G = "group_advantage"


@library.fact(
    "GRPO divides by the deviation of the group with ddof 1, plus 1e-6: rewards 1, 0, 0, 0.",
    gives=[1.5, -0.5, -0.5, -0.5], topic=G,
)  # fmt: skip
def grpo() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, one, groups = torch.tensor([[1.0], [0], [0], [0]]), torch.ones(4, 1), [0, 0, 0, 0]
    return get_adv_estimator_fn("grpo")(rewards, one, groups)[0].flatten().tolist()


@library.fact(
    "The only completion of a group has its reward of 2 for advantage in grpo, grpo_vectorized, rloo, opo and gpg, and 0 in "
    "rloo_vectorized, the fourth here.",
    gives=[2.0, 2.0, 2.0, 0.0, 2.0, 2.0], topic=G,
)  # fmt: skip
def group_of_one() -> Any:
    import numpy as np
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    names = ("grpo", "grpo_vectorized", "rloo", "rloo_vectorized", "opo", "gpg")
    one, group = torch.ones(1, 1), np.array([0])
    return [get_adv_estimator_fn(name)(torch.tensor([[2.0]]), one, group)[0].item() for name in names]


@library.fact("grpo_passk refuses a group of one.", gives="ValueError", topic=G)
def pass_at_k_of_one() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    try:
        return str(get_adv_estimator_fn("grpo_passk")(torch.ones(1, 1), torch.ones(1, 1), [0], config={})[0].item())
    except Exception as error:
        return type(error).__name__


@library.fact(
    "With grpo_passk the best of a group has what it beats the second by, over the deviation unless that is switched off.",
    gives=[[0.0, 0.0, 0.7947194], [0.0, 0.0, 2.0]], topic=G,
)  # fmt: skip
def pass_at_k() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, one = torch.tensor([[0.0], [3], [5]]), torch.ones(3, 1)
    configs = [{"norm_adv_by_std_in_grpo": True}, {"norm_adv_by_std_in_grpo": False}]
    function = get_adv_estimator_fn("grpo_passk")
    return [function(rewards, one, [0, 0, 0], config=config)[0].flatten().tolist() for config in configs]


@library.fact(
    "RLOO leaves each completion out of its own baseline: rewards 1, 0, 0, 0.",
    gives=[1.0, -1 / 3, -1 / 3, -1 / 3], topic=G,
)  # fmt: skip
def rloo() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, one, groups = torch.tensor([[1.0], [0], [0], [0]]), torch.ones(4, 1), [0, 0, 0, 0]
    return get_adv_estimator_fn("rloo")(rewards, one, groups)[0].flatten().tolist()


@library.fact(
    "The baseline of OPO is weighted by lengths: rewards 3 and 0 of one and two tokens.", gives=[2.0, -1.0], topic=G
)
def opo() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, mask = torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    return get_adv_estimator_fn("opo")(rewards, mask, [0, 0])[0][:, 0].tolist()


@library.fact(
    "GPG multiplies by the size of the batch over the number of rewards that are not 0: 1, 0, 0, 0.",
    gives=[3.0, -1.0, -1.0, -1.0], topic=G,
)  # fmt: skip
def gpg() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, one, groups = torch.tensor([[1.0], [0], [0], [0]]), torch.ones(4, 1), [0, 0, 0, 0]
    return get_adv_estimator_fn("gpg")(rewards, one, groups)[0].flatten().tolist()


@library.fact(
    "REINFORCE++ skips a token that the policy has not written: returns of a last reward 1 with γ 0.5.",
    gives=[0.5, 0.0, 1.0],
)  # fmt: skip
def reinforce_plus_plus_skips_holes() -> Any:
    from types import SimpleNamespace

    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, mask = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    function = get_adv_estimator_fn("reinforce_plus_plus")
    return function(rewards, mask, config=SimpleNamespace(gamma=0.5))[1].flatten().tolist()


@library.fact(
    "REINFORCE++ with a baseline whitens over tokens with ddof 1: centred rewards 1 and -1 of one and two tokens.",
    gives=[1.1547005, -0.5773503], topic=G,
)  # fmt: skip
def reinforce_plus_plus_baseline() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, mask = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    return get_adv_estimator_fn("reinforce_plus_plus_baseline")(rewards, mask, [0, 0])[0][:, 0].tolist()


@library.fact("ReMax subtracts the reward of the greedy completion, 0.3, from the reward to go.", gives=[0.7, 0.7, 0.0])
def remax() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, mask = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    return get_adv_estimator_fn("remax")(rewards, torch.tensor([0.3]), mask)[0].flatten().tolist()


@library.fact(
    "GAE skips a token that the policy has not written: returns of a last reward 1 with values of 0 and γ λ 0.25.",
    gives=[0.25, 1.0, 1.0],
)  # fmt: skip
def gae_skips_holes() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, mask = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    return get_adv_estimator_fn("gae")(rewards, torch.zeros(1, 3), mask, 0.5, 0.5)[1].flatten().tolist()


@library.fact(
    "GDPO whitens the sum of normalised rewards over tokens with ddof 1: rewards 1 and 0 of one and two tokens.",
    gives=[1.1547005, -0.5773503], topic=G,
)  # fmt: skip
def gdpo() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, mask = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    return get_adv_estimator_fn("gdpo")(rewards, mask, [0, 0])[0][:, 0].tolist()


@library.fact(
    "The baseline of optimal_token_baseline is the mean of returns weighted by the sum, up to the token, of 1 - 2 π + Σ π², "
    "with 1e-8 in its denominator: rewards 2 and 0, weights 0.5 and 1.5.",
    gives=[1.5, -0.5],
)  # fmt: skip
def optimal_token_baseline() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards, one, logps = torch.tensor([[2.0], [0.0]]), torch.ones(2, 1), torch.tensor([[0.5], [0.25]]).log()
    function = get_adv_estimator_fn("optimal_token_baseline")
    return function(rewards, one, [0, 0], logps, torch.tensor([[0.5], [1.0]]))[0].flatten().tolist()
