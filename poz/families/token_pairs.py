"""Pairs of completions or of trajectory segments, one log-probability per token."""

from __future__ import annotations

from typing import NamedTuple

from poz.backends import Array
from poz.families._family import family
from poz.families._tokens import fitted, swapped


@family(
    {
        **dict.fromkeys(("chosen", "ref_chosen", "chosen_kl"), ("bt", "logp")),
        **dict.fromkeys(("rejected", "ref_rejected", "rejected_kl"), ("bu", "logp")),
        "chosen_mask": ("bt", "mask"),
        "rejected_mask": ("bu", "mask"),
        "chosen_changed": ("bt", "mask"),
        "rejected_changed": ("bu", "mask"),
        "chosen_weights": ("bt", "amount"),
        "rejected_weights": ("bu", "amount"),
        "chosen_collision": ("bt", "number"),
        "rejected_collision": ("bu", "number"),
        "label": ("b", "number"),
    },
    sides=("chosen", "rejected"),
    masks={"chosen": "chosen_mask", "rejected": "rejected_mask"},
    plain=dict.fromkeys(("chosen_changed", "rejected_changed", "chosen_collision", "rejected_collision"), 0),
)
class TokenPairs(NamedTuple):
    """Chosen against rejected, one log-probability per token (or per step of a trajectory segment).

    Attributes:
        chosen: (batch, tokens) log-probs under the policy, in nats.
        rejected: (batch, other tokens) the same of the rejected segment.
        ref_chosen: (batch, tokens) log-probs under the reference policy.
        ref_rejected: (batch, other tokens) the same of the rejected segment.
        chosen_mask: (batch, tokens) true at valid tokens; all are valid where it is not given.
        rejected_mask: (batch, other tokens) the same of the rejected segment.
        label: (batch,) probability that chosen is the better one (1/2: a tie); 1 where it is not given.
        chosen_weights: (batch, tokens) weight of each token.
        rejected_weights: (batch, other tokens) the same of the rejected segment.
        chosen_changed: (batch, tokens) true at tokens that differ from the rejected segment.
        rejected_changed: (batch, other tokens) the same of the rejected segment.
        chosen_kl: (batch, tokens) KL(reference || policy) at each token, in nats.
        rejected_kl: (batch, other tokens) the same of the rejected segment.
        chosen_collision: (batch, tokens) log Σ_v π(v|context)² of the policy at each token, in nats.
        rejected_collision: (batch, other tokens) the same of the rejected segment.
    """

    chosen: Array
    rejected: Array = None
    ref_chosen: Array = None
    ref_rejected: Array = None
    chosen_mask: Array = None
    rejected_mask: Array = None
    label: Array = None
    chosen_weights: Array = None
    rejected_weights: Array = None
    chosen_changed: Array = None
    rejected_changed: Array = None
    chosen_kl: Array = None
    rejected_kl: Array = None
    chosen_collision: Array = None
    rejected_collision: Array = None

    def swap(self) -> TokenPairs:
        """The same pairs with the opposite label."""
        return self._replace(**swapped(self))

    @classmethod
    def from_tokens(cls, chosen: Array, rejected: Array, **fields: Array) -> TokenPairs:
        """The tokens as they are; a tokenizer's masks, of 0 and 1, become booleans."""
        sides = {"chosen": chosen, "rejected": rejected}
        for side, tokens in sides.items():
            mask = f"{side}_mask"
            sides[side], fields[mask] = fitted(side, tokens, mask, fields.get(mask))
        return cls(**sides, **fields)
