"""verl: what its losses do on one small input."""

from typing import Any

from poz.peers._library import Library

library = Library("verl", "verl")

SOURCE = "https://github.com/verl-project/verl/blob/main/verl/"


@library.fact(
    "Setting actor.clip_ratio alone changes nothing: clip_ratio_low and clip_ratio_high have defaults of their own, 0.2, and "
    "it is read where they are null.",
    gives=-1.2, right=-1.01, objective="ppo_clip", link=f"{SOURCE}workers/config/actor.py",
    because="The ε of PPO is documented as clip_ratio, and is 0.01 here: a ratio of 1.65 with advantage 1 counts as 1.01, as it "
    "does with null for the other two, which ought to be their default.",
)  # fmt: skip
def clip_ratio_alone_changes_nothing() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, clip_ratio=0.01)
    old, new, one = torch.tensor([[-1.0]]), torch.tensor([[-0.5]]), torch.ones(1, 1)
    return compute_policy_loss_vanilla(old, new, one, one, config=config)[0].item()


@library.fact(
    "dppo_tv caps the ratio at 3, where its code asks for 20 unless clip_ratio_c is given.",
    gives=3.0, right=10.0, objective="dppo_tv", link=f"{SOURCE}trainer/ppo/core_algos.py",
    because="config.get('clip_ratio_c', 20.0) is of a field that is always there, with a default of 3 for another loss; the "
    "comment above it asks for a large one.",
)  # fmt: skip
def dppo_caps_at_3() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    new, one = torch.tensor([[-5.0]], requires_grad=True), torch.ones(1, 1)
    old = new.detach() - torch.tensor(10.0).log()
    get_policy_loss_fn("dppo_tv")(old, new, one, one, config=config)[0].backward()
    return -new.grad.item()  # type: ignore[union-attr]


@library.fact(
    "A mini-batch in two micro-batches has twice the geo_mean loss of the whole.",
    gives=[-1.0, -2.0], right=[-1.0, -1.0], objective="gmpo", topic="accumulation", link="https://github.com/verl-project/verl/issues/7913",
    because="The engine adds micro-batches up, and the other losses divide by the global counts that they are given.",
)  # fmt: skip
def geo_mean_counts_micro_batches() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    config.global_batch_info.update(batch_num_tokens=4, global_batch_size=2, dp_size=1)
    x, one = torch.zeros(2, 2), torch.ones(2, 2)
    loss = [get_policy_loss_fn("geo_mean")(x[i], x[i], one[i], one[i], config=config)[0] for i in ([0, 1], [0], [1])]
    return [loss[0].item(), (loss[1] + loss[2]).item()]


@library.fact(
    "A NaN under the mask makes the loss NaN for gspo, for geo_mean, and for vanilla in a sequence mode.",
    gives=["nan", "nan", "nan", "-1.0"], right=["-1.0"] * 4, link=f"{SOURCE}trainer/ppo/core_algos.py",
    because="What is under the mask is no token: masked_sum takes 0 for NaN there, as in the token mode of vanilla, fourth here.",
)  # fmt: skip
def nan_under_the_mask() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    old, new, one = torch.zeros(1, 2), torch.tensor([[0.0, float("nan")]]), torch.ones(1, 2)
    mask, sequence = torch.tensor([[True, False]]), "seq-mean-token-mean"
    losses = [("gspo", "token-mean"), ("geo_mean", sequence), ("vanilla", sequence), ("vanilla", "token-mean")]
    return [str(get_policy_loss_fn(n)(old, new, one, mask, mode, config)[0].item()) for n, mode in losses]


@library.fact(
    "clip_cov draws its tokens from torch's global generator: three seeds, three losses.",
    gives=3, objective="clip_cov",
)  # fmt: skip
def clip_cov_has_no_generator() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    old, advantages = -torch.tensor([[1.0, 2, 3, 9, 10, 11]]), torch.tensor([[1.0, 1.1, 1.2, 0.1, 0.2, 0.3]])
    losses = set()
    for seed in range(3):
        torch.manual_seed(seed)
        losses.add(get_policy_loss_fn("clip_cov")(old, old, advantages, torch.ones(1, 6), config=config)[0].item())
    return len(losses)


@library.fact(
    "sapo and geo_mean ignore loss_agg_mode, and gspo follows it: how far two modes are apart.",
    gives=[0.0, 0.0, 0.25],
)  # fmt: skip
def modes_that_are_ignored() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    x, advantages, mask = torch.zeros(2, 3), torch.tensor([[1.0], [0.0]]).expand(2, 3), torch.ones(2, 3).bool()
    mask[1, 1:] = False
    names, modes = ("sapo", "geo_mean", "gspo"), ("token-mean", "seq-mean-token-mean")
    losses = [[get_policy_loss_fn(n)(x, x, advantages, mask, mode, config)[0] for mode in modes] for n in names]
    return [(b - a).item() for a, b in losses]


@library.fact(
    "The log-ratio is clamped at 20 in vanilla, cispo and dppo_tv, and not in clip_cov, kl_cov and geo_mean: the log of the "
    "loss at 25 with advantage -1, where no clip binds.",
    gives=[20.0, 20.0, 20.0, 25.0, 25.0, 25.0],
)  # fmt: skip
def log_ratio_of_25() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    bounds = {"clip_ratio_low": 1.0, "clip_ratio_high": 1e30, "clip_ratio_c": 1e30}
    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, **bounds)
    old, new, one = torch.tensor([[-26.0]]), torch.tensor([[-1.0]]), torch.ones(1, 1)
    names = ("vanilla", "cispo", "dppo_tv", "clip_cov", "kl_cov", "geo_mean")
    return [get_policy_loss_fn(n)(old, new, -one, one, config=config)[0].abs().log().item() for n in names]


@library.fact(
    "gspo caps the mean log-ratio at 10, with no gradient beyond: the log of the loss at 12 with advantage -1, and its slope.",
    gives=[10.0, 0.0], objective="gspo",
)  # fmt: skip
def gspo_caps_at_10() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    old, new, one = torch.tensor([[-30.0]]), torch.tensor([[-18.0]], requires_grad=True), torch.ones(1, 1)
    loss = get_policy_loss_fn("gspo")(old, new, -one, one, config=config)[0]
    loss.backward()
    return [loss.log().item(), new.grad.item()]  # type: ignore[union-attr]


@library.fact(
    "dppo_kl adds 1e-8 to the probability of all other tokens: one that goes from 0.99 to 1 - 1e-12 keeps its gradient, though "
    "the KL is 0.22 and 0.2 are allowed.",
    gives=-1.010101, objective="dppo_kl",
)  # fmt: skip
def dppo_kl_adds_1e_8() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    old, new = (torch.tensor([[p]], dtype=torch.float64).log() for p in (0.99, 1 - 1e-12))
    one = torch.ones_like(new.requires_grad_())
    get_policy_loss_fn("dppo_kl")(old, new, one, one, config=config)[0].backward()
    return new.grad.item()  # type: ignore[union-attr]


@library.fact(
    "geo_mean takes the geometric mean of the weights that correct the sampler: of 1 and 4 it is 2.",
    gives=-2.0, objective="gmpo",
)  # fmt: skip
def weights_of_geo_mean() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    x, one, weights = torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([[1.0, 4.0]])
    return get_policy_loss_fn("geo_mean")(x, x, one, one, config=config, rollout_is_weights=weights)[0].item()


@library.fact(
    "Dr. GRPO's sum is divided by the padded width unless loss_scale_factor is given: five columns of padding halve it.",
    gives=[-1.0, -0.5], objective="dr_grpo", topic="dr_grpo_length",
)  # fmt: skip
def width_is_the_length() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import agg_loss

    mask = torch.tensor([[1.0] * 5 + [0.0] * 5])
    return [agg_loss(-mask[:, :n], mask[:, :n], "seq-mean-token-sum-norm").item() for n in (5, 10)]


@library.fact(
    "A completion without a token is left out of the mean over completions, and geo_mean counts it: one of two is empty.",
    gives=[-1.0, -0.5], topic="empty_completion",
)  # fmt: skip
def one_of_two_is_empty() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    x, one, mask = torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([[1.0] * 3, [0.0] * 3])
    mode = "seq-mean-token-mean"
    return [get_policy_loss_fn(n)(x, x, one, mask, mode, config)[0].item() for n in ("vanilla", "geo_mean")]


@library.fact("A micro-batch without a token is NaN where no global count is given.", gives=float("nan"))
def nothing_but_padding() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import agg_loss

    return agg_loss(torch.zeros(1, 3), torch.zeros(1, 3), "token-mean").item()


@library.fact(
    "Two micro-batches of one and of three tokens add up to the whole where the global counts are given.",
    gives=[2.5, 2.5], topic="accumulation",
)  # fmt: skip
def micro_batches_add_up() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import agg_loss

    loss, mask = torch.tensor([[1.0, 0, 0], [2, 3, 4]]), torch.tensor([[1.0, 0, 0], [1, 1, 1]])
    parts = [agg_loss(loss[i], mask[i], "token-mean", batch_num_tokens=4) for i in ([0], [1])]
    return [sum(parts).item(), agg_loss(loss, mask, "token-mean").item()]


@library.fact(
    "Each of two ranks has its share of the whole, 2.5, times 2, which the mean over ranks takes back.",
    gives=[0.5, 4.5], topic="ranks",
)  # fmt: skip
def ranks_are_weighted() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import agg_loss

    loss, mask = torch.tensor([[1.0, 0, 0], [2, 3, 4]]), torch.tensor([[1.0, 0, 0], [1, 1, 1]])
    return [agg_loss(loss[i], mask[i], "token-mean", dp_size=2, batch_num_tokens=4).item() for i in ([0], [1])]


@library.fact(
    "Values and slopes of k1, k2, k3, abs, k1+, k3+ at log π_ref - log π = 0.5: each has its own slope, k1+ and k3+ that of k2.",
    gives=[[-0.5, 1.0], [0.125, -0.5], [0.14872, -0.64872], [0.5, -1.0], [-0.5, -0.5], [0.14872, -0.5]], topic="kl_estimator",
)  # fmt: skip
def kl_estimators() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import kl_penalty

    found = []
    for kind in ("k1", "k2", "k3", "abs", "k1+", "k3+"):
        new = torch.tensor([-1.0], requires_grad=True)
        value = kl_penalty(new, torch.tensor([-0.5]), kind)
        value.backward()
        found.append([value.item(), new.grad.item()])  # type: ignore[union-attr]
    return found


@library.fact(
    "k3 is capped at 10 with no gradient beyond: a policy 20 times below the reference is not held to it; by k3+ it is.",
    gives=[[10.0, 0.0], [10.0, -2.99573]], objective="grpo", topic="kl_estimator",
)  # fmt: skip
def k3_ends_at_10() -> Any:
    import torch
    from verl.trainer.ppo.core_algos import kl_penalty

    found = []
    for kind in ("k3", "k3+"):
        new = torch.tensor([-4.0], requires_grad=True)
        value = kl_penalty(new, new.detach() + torch.tensor(20.0).log(), kind)
        value.backward()
        found.append([value.item(), new.grad.item()])  # type: ignore[union-attr]
    return found


@library.fact(
    "rollout_rs drops completions by the sum or the mean of log sampler / policy, where weights are policy / sampler: of the "
    "bounds 0.5 and 5 a policy at 4 times the sampler is outside, one at 0.25 inside.",
    gives=[[0.0, 1.0], [0.0, 1.0]], topic="sequence_mask",
)  # fmt: skip
def rejection_has_the_other_sign() -> Any:
    import torch
    from verl.trainer.ppo.rollout_corr_helper import compute_rollout_rejection_mask

    log_ratio = torch.tensor([[4.0], [0.25]]).log()  # of the policy to the sampler
    kinds, one = ("seq_sum_k1", "seq_mean_k1"), torch.ones(2, 1)
    return [compute_rollout_rejection_mask(log_ratio, one, kind, "0.5_5.0")[0].flatten().tolist() for kind in kinds]
