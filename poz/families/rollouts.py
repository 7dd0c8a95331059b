"""Completions that a policy was trained on after it, or a policy near it, had written them."""

from __future__ import annotations

from typing import NamedTuple

from poz.backends import Array
from poz.families._family import family


@family(
    {
        **dict.fromkeys(("logps", "old_logps", "ref_logps", "sampler_logps"), ("bt", "logp")),
        "entropy": ("bt", "feature"),
        "mask": ("bt", "mask"),
        "advantages": ("b", "number"),
        "token_advantages": ("bt", "number"),
        "noise": ("bt", "number"),
        "groups": ("b", "integer"),
    },
    sides=("logps",),
    masks={"logps": "mask"},
)
class Rollouts(NamedTuple):
    """Completions with what each of their tokens is worth, one log-prob for each token and policy.

    Attributes:
        logps: (batch, tokens) log-prob of each token under the policy, in nats.
        old_logps: (batch, tokens) the same under the policy that the update started from, which the log-ratio is against;
            that of `logps`, held constant, where it is not given: exactly on-policy.
        ref_logps: (batch, tokens) the same under the reference policy.
        sampler_logps: (batch, tokens) the same as the sampler had it that wrote the completion, such as vLLM: the old policy
            up to rounding and staleness.
        entropy: (batch, tokens) entropy of the policy at each token, in nats, with a gradient.
        mask: (batch, tokens) true at tokens of the completion that the policy wrote; all where not given.
        advantages: (batch,) how much better than expected the completion did; `poz.advantages` makes them.
        token_advantages: (batch, tokens) the same of each token.
        noise: (batch, tokens) numbers by which tokens are chosen at random, the smallest first; others for each batch, as
            `torch.rand(shape, generator=generator)` are.
        groups: (batch,) integer id of the prompt of each completion.
    """

    logps: Array
    old_logps: Array = None
    ref_logps: Array = None
    sampler_logps: Array = None
    entropy: Array = None
    mask: Array = None
    advantages: Array = None
    token_advantages: Array = None
    noise: Array = None
    groups: Array = None
