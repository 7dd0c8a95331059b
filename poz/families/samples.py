"""Lists of completions drawn from a policy."""

from __future__ import annotations

from typing import NamedTuple

from poz.backends import Array
from poz.families._family import family
from poz.families._tokens import summed


@family(
    {
        **dict.fromkeys(("logps", "anchor_logps", "ref_logps"), ("bk", "logp")),
        "winrates": ("bk", "number"),
    },
    sides=("logps",),
)
class Samples(NamedTuple):
    """K completions of one prompt, drawn from a policy, with how often each one wins.

    Attributes:
        logps: (batch, K) summed log-probs under the policy that learns, in nats.
        anchor_logps: (batch, K) the same under the policy of the last iteration.
        ref_logps: (batch, K) the same under the reference policy.
        winrates: (batch, K) estimated probability that the completion beats one of the rivals, or its mean score
            against them; `poz.algorithms.winrates` makes them from a reward or preference model.
    """

    logps: Array
    anchor_logps: Array = None
    ref_logps: Array = None
    winrates: Array = None

    @classmethod
    def from_tokens(cls, logps: Array, *, token_mask: Array = None, **fields: Array) -> Samples:
        """Sums per-token log-probs over each completion.

        Args:
            logps: (batch, K, tokens) per-token log-probs of the policy.
            token_mask: (batch, K, tokens) true at completion tokens; all where not given.
            **fields: Other fields; `anchor_logps` and `ref_logps` may be per token too.
        """
        return cls(**summed(logps, token_mask, fields))
