"""Lists of completions in order of preference."""

from __future__ import annotations

from typing import NamedTuple

from poz.backends import Array
from poz.families._family import family
from poz.families._tokens import count_of, summed


@family(
    {
        **dict.fromkeys(("logps", "ref_logps"), ("bk", "logp")),
        "lengths": ("bk", "amount"),
        "scores": ("bk", "number"),
        "mask": ("bk", "mask"),
    },
    sides=("logps",),
    lengths={"logps": "lengths"},
    masks={"logps": "mask"},
    ranked=True,
)
class Ranked(NamedTuple):
    """K completions of one prompt in order of preference, best first.

    Attributes:
        logps: (batch, K) log-prob of each completion under the policy, summed over its tokens, in nats.
        ref_logps: (batch, K) the same under the reference policy.
        lengths: (batch, K) number of completion tokens; 0 counts as 1.
        scores: (batch, K) known reward of each completion.
        mask: (batch, K) true at completions, false at padding of shorter lists; all are valid where it is not given.
    """

    logps: Array
    ref_logps: Array = None
    lengths: Array = None
    scores: Array = None
    mask: Array = None

    @classmethod
    def from_tokens(cls, logps: Array, *, token_mask: Array = None, **fields: Array) -> Ranked:
        """Sums per-token log-probs over each completion and counts its tokens.

        Args:
            logps: (batch, K, tokens) per-token log-probs of the policy.
            token_mask: (batch, K, tokens) true at completion tokens; all where not given.
            **fields: Other fields; `ref_logps` may be per token too.
        """
        return cls(**{"lengths": count_of(logps, token_mask), **summed(logps, token_mask, fields)})
