"""Advantages: how much better a completion, or a token of it, did than was to be expected.

    advantages = poz.advantages.group(rewards, prompt_ids)      # GRPO: (batch,), for poz.Rollouts(..., advantages=advantages)

Pure functions of rewards (batch,) and of the group that each completion belongs to, its prompt, by an integer id: members of
a group may stand anywhere in the batch, and groups may be of any sizes. A completion alone in its group has nothing to be
compared with, so its advantage is 0, and so is that of completions with equal rewards, exactly. Advantages are data: they
have no gradient. 16-bit rewards are computed with and returned in float32. A NaN or an infinity is refused where it can be
read, else (on a GPU, under `jax.jit`) it makes its whole group NaN.

Where a function takes `processes`, a group of processes of torch.distributed, what it compares with is the batch of all of
them: completions of a prompt may be spread over ranks, in unequal shares. In JAX a global array is global already.
"""

from poz.advantages.groups import (
    batch_std,
    gdpo,
    greedy_baseline,
    group,
    group_mean,
    leave_one_out,
    length_weighted,
    pass_at_k,
)
from poz.advantages.tokens import (
    at_last,
    gae,
    optimal_token_baseline,
    reinforce_plus_plus,
    reinforce_plus_plus_baseline,
    returns,
)
from poz.advantages.values import optimal
from poz.advantages.whitening import whiten

__all__ = [
    "at_last",
    "batch_std",
    "gae",
    "gdpo",
    "greedy_baseline",
    "group",
    "group_mean",
    "leave_one_out",
    "length_weighted",
    "optimal",
    "optimal_token_baseline",
    "pass_at_k",
    "reinforce_plus_plus",
    "reinforce_plus_plus_baseline",
    "returns",
    "whiten",
]
