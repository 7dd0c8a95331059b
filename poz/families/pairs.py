"""Pairs of completions, one log-probability each."""

from __future__ import annotations

import math
from typing import NamedTuple

from poz.backends import Array, namespace
from poz.families._family import family
from poz.families._tokens import check_alike, count, fitted, masked_sum, owners, same_tokens, sides_of, swapped


@family(
    {
        **dict.fromkeys(("chosen", "rejected", "ref_chosen", "ref_rejected"), ("b", "logp")),
        **dict.fromkeys(("chosen_len", "rejected_len"), ("b", "amount")),
        **dict.fromkeys(("label", "margin", "entropy"), ("b", "number")),
        "annotator": ("b", "integer"),
        "prompt_embedding": ("bd", "number"),
        **dict.fromkeys(("opponents_chosen", "opponents_rejected"), ("mb", "logp")),
        **dict.fromkeys(("calibration", "ref_calibration"), ("c", "logp")),
    },
    sides=("chosen", "rejected"),
    lengths={"chosen": "chosen_len", "rejected": "rejected_len"},
    plain={"entropy": 1 / math.e},
)
class Pairs(NamedTuple):
    """Chosen against rejected, one log-probability per completion.

    Attributes:
        chosen: (batch,) log-prob of the chosen completion under the policy, summed over its tokens, in nats.
        rejected: (batch,) the same of the rejected completion.
        ref_chosen: (batch,) summed log-prob of the chosen completion under the reference policy.
        ref_rejected: (batch,) the same of the rejected completion.
        chosen_len: (batch,) number of completion tokens; 0 counts as 1, so an empty completion has mean log-prob 0.
        rejected_len: (batch,) the same of the rejected completion.
        label: (batch,) probability that chosen is the better one; 1 where it is not given.
        margin: (batch,) known reward of chosen minus known reward of rejected.
        entropy: (batch,) token entropy of the reference policy, averaged over the tokens of both completions, as a
            share of the log of the vocabulary size, in (0, 1].
        annotator: (batch,) integer id of whoever labelled the pair, from 0.
        opponents_chosen: (opponents, batch) summed log-prob of the chosen completion under other policies.
        opponents_rejected: (opponents, batch) the same of the rejected completion.
        calibration: (samples,) summed log-prob of calibration completions under the policy.
        ref_calibration: (samples,) the same under the reference policy.
        prompt_embedding: (batch, width) numbers whose angles say how alike the prompts are, from any sentence encoder.
    """

    chosen: Array
    rejected: Array = None
    ref_chosen: Array = None
    ref_rejected: Array = None
    chosen_len: Array = None
    rejected_len: Array = None
    label: Array = None
    margin: Array = None
    annotator: Array = None
    opponents_chosen: Array = None
    opponents_rejected: Array = None
    calibration: Array = None
    ref_calibration: Array = None
    entropy: Array = None
    prompt_embedding: Array = None

    def swap(self) -> Pairs:
        """The same pairs with the opposite label: the rejected completion is called chosen."""
        return self._replace(**swapped(self, ("margin",)))

    @classmethod
    def from_tokens(
        cls,
        chosen: Array,
        rejected: Array,
        *,
        chosen_mask: Array = None,
        rejected_mask: Array = None,
        **fields: Array,
    ) -> Pairs:
        """Sums per-token log-probs over each completion and counts its tokens.

        Args:
            chosen: (batch, tokens) per-token log-probs of the policy.
            rejected: (batch, other tokens) the same of the rejected completions.
            chosen_mask: (batch, tokens) true at completion tokens; all where not given.
            rejected_mask: (batch, other tokens) the same of the rejected completions.
            **fields: Other fields. `ref_*` and `opponents_*` may be per token too ((..., batch, tokens)); a
                `ref_*` of one dimension is taken as summed already.
        """
        masks = {"chosen": chosen_mask, "rejected": rejected_mask}
        lens, sums = {}, {}
        for side, given_tokens in (("chosen", chosen), ("rejected", rejected)):
            xp = namespace(given_tokens)
            tokens, mask = fitted(side, given_tokens, f"{side}_mask", masks[side])
            sums[side] = masked_sum(xp, tokens, mask)
            lens[f"{side}_len"] = count(xp, tokens, mask)
            for name in (f"ref_{side}", f"opponents_{side}"):
                given = fields.get(name)
                if given is not None and given.ndim > tokens.ndim - 1 + (name[0] == "o"):
                    same_tokens(side, tokens, name, given, lead=given.ndim - tokens.ndim if name[0] == "o" else 0)
                    fields[name] = masked_sum(xp, given, mask)
        return cls(**{**sums, **lens, **fields})

    @classmethod
    def from_halves(
        cls, logps: Array, *, mask: Array = None, ref_logps: Array = None, layout: str = "cat", **fields: Array
    ) -> Pairs:
        """The same of one array with the rows of both sides, as trainers score them in one forward pass.

        Args:
            logps: (2 * batch, tokens) per-token log-probs of the policy.
            mask: (2 * batch, tokens) true at completion tokens; all where not given.
            ref_logps: (2 * batch, tokens) log-probs of the reference, or (2 * batch,) their sums.
            layout: "cat", all chosen rows and then all rejected ones (TRL), or "interleaved", chosen, rejected, chosen, ...
                (NeMo-RL).
            **fields: Other fields, one for each pair.

        Raises:
            ValueError: Another layout, rows that do not make pairs, or what does not fit `logps`.
        """
        namespace(logps)  # which says that a list is no array
        if logps.ndim != 2:
            raise ValueError(f"logps must be (2 * batch, tokens), a row for each completion; got {tuple(logps.shape)}.")
        rows = {"logps": logps, "mask": mask, "ref_logps": ref_logps}
        for name in ("mask", "ref_logps"):
            if rows[name] is not None and rows[name].ndim != 1:
                same_tokens("logps", logps, name, rows[name])
        chosen, rejected = sides_of(rows, logps.shape[0], layout)
        given = {"chosen_mask": chosen["mask"], "rejected_mask": rejected["mask"]}
        given |= {"ref_chosen": chosen["ref_logps"], "ref_rejected": rejected["ref_logps"]}
        return cls.from_tokens(chosen["logps"], rejected["logps"], **given, **fields)

    @classmethod
    def from_packed(
        cls,
        logps: Array,
        cu_seqlens: Array,
        *,
        mask: Array = None,
        ref_logps: Array = None,
        layout: str = "cat",
        **fields: Array,
    ) -> Pairs:
        """The same of completions that are packed one behind the other, without padding.

        Args:
            logps: (tokens,) log-probs of the policy.
            cu_seqlens: (2 * batch + 1,) integers, where each completion begins, and the number of tokens; others give NaN
                where they cannot be read, as under jit.
            mask: (tokens,) true at completion tokens, as prompts may be packed with them; all where not given.
            ref_logps: (tokens,) log-probs of the reference, or (2 * batch,) their sums; refused where there are as many tokens as
                completions, but not one in each, so that neither is known to be meant.
            layout: "cat", all chosen completions and then all rejected ones, or "interleaved".
            **fields: Other fields, one for each pair.

        Raises:
            TypeError: `cu_seqlens` are no integers.
            ValueError: Another layout, completions that do not make pairs, or what does not fit `logps`.
        """
        logps, owner, count_all = owners("logps", logps, cu_seqlens)
        xp, (logps, mask) = namespace(logps), fitted("logps", logps, "mask", mask)

        def each(x: Array) -> Array:
            wide = xp.widen(x) if xp.kind(x) == "half" else x
            return xp.segment_sum(
                wide if mask is None else xp.where(mask, wide, xp.constant(0.0, wide)), owner, count_all
            )

        rows = {"": each(logps), "len": each(xp.ones_like(logps)), "ref_": ref_logps}
        if ref_logps is not None and (logps.shape[0] == count_all or tuple(ref_logps.shape) != (count_all,)):
            same_tokens("logps", logps, "ref_logps", ref_logps)
            if logps.shape[0] == count_all:
                check_alike(logps, cu_seqlens)
            rows["ref_"] = each(ref_logps)
        chosen, rejected = sides_of(rows, count_all, layout)
        made = {
            f"{prefix}{side}": of[prefix]
            for side, of in (("chosen", chosen), ("rejected", rejected))
            for prefix in ("", "ref_")
        }
        return cls(**made, chosen_len=chosen["len"], rejected_len=rejected["len"], **fields)
