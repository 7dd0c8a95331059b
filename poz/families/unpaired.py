"""Completions without a rival."""

from __future__ import annotations

from typing import NamedTuple

from poz.backends import Array
from poz.families._family import family
from poz.families._tokens import count_of, summed


@family(
    {
        **dict.fromkeys(("logps", "ref_logps"), ("b", "logp")),
        "desirable": ("b", "mask"),
        **dict.fromkeys(("lengths", "weights"), ("b", "amount")),
        "kl": ("b", "number"),
        **dict.fromkeys(("kl_logps", "kl_ref_logps"), ("c", "logp")),
    },
    sides=("logps",),
    lengths={"logps": "lengths"},
)
class Unpaired(NamedTuple):
    """Completions that are good or bad on their own, without a rival.

    Attributes:
        logps: (batch,) summed log-prob of the completion under the policy, in nats.
        ref_logps: (batch,) the same under the reference policy.
        desirable: (batch,) true where the completion is a good one.
        lengths: (batch,) tokens of the completion; 0 counts as 1.
        weights: (batch,) weight of each example, 1 where it is not given.
        kl: (batch,) a known estimate of KL(policy || reference) in nats, usually the same number for all.
        kl_logps: (samples,) summed log-probs of completions that belong to other prompts, under the policy; they
            estimate that KL, and belong to all examples.
        kl_ref_logps: (samples,) the same under the reference policy.
    """

    logps: Array
    ref_logps: Array = None
    desirable: Array = None
    lengths: Array = None
    weights: Array = None
    kl: Array = None
    kl_logps: Array = None
    kl_ref_logps: Array = None

    @classmethod
    def from_tokens(cls, logps: Array, *, token_mask: Array = None, **fields: Array) -> Unpaired:
        """Sums per-token log-probs over each completion and counts its tokens.

        Args:
            logps: (batch, tokens) per-token log-probs of the policy.
            token_mask: (batch, tokens) true at completion tokens; all where not given.
            **fields: Other fields; `ref_logps` may be per token too. KL samples are given summed.
        """
        return cls(**{"lengths": count_of(logps, token_mask), **summed(logps, token_mask, fields)})
