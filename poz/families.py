"""What an objective is given: log-probabilities in nats, and what is known about the completions.

Each family is a NamedTuple, so JAX and torch treat it as a pytree without registration. Only the fields that an
objective reads (`Objective.reads`) must be filled; the others stay None. `from_tokens` builds any of them
(but `Denoising`, which has no tokens) from per-token log-probabilities and a mask, so a trainer computes those once.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from poz.backends import Array, Namespace, namespace

Family = TypeVar("Family", bound=tuple[Any, ...])


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
        return self._replace(
            **_swapped_sides(self),
            margin=None if self.margin is None else -self.margin,
            label=None if self.label is None else 1 - self.label,
        )

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
        lens = {}
        for side, tokens in (("chosen", chosen), ("rejected", rejected)):
            xp = namespace(tokens)
            mask = masks[side] = _fitting(side, tokens, f"{side}_mask", masks[side])
            lens[f"{side}_len"] = _count(xp, tokens, mask)
            for name in (f"ref_{side}", f"opponents_{side}"):
                given = fields.get(name)
                if given is not None and given.ndim > tokens.ndim - 1 + (name[0] == "o"):
                    _same_tokens(side, tokens, name, given, lead=given.ndim - tokens.ndim if name[0] == "o" else 0)
                    fields[name] = _masked_sum(xp, given, mask)
        sums = {
            side: _masked_sum(namespace(t), t, masks[side]) for side, t in (("chosen", chosen), ("rejected", rejected))
        }
        return cls(**{**sums, **lens, **fields})


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
        return self._replace(**_swapped_sides(self), label=None if self.label is None else 1 - self.label)

    @classmethod
    def from_tokens(cls, chosen: Array, rejected: Array, **fields: Array) -> TokenPairs:
        """The tokens as they are; a tokenizer's masks, of 0 and 1, become booleans."""
        for side, tokens in (("chosen", chosen), ("rejected", rejected)):
            if fields.get(f"{side}_mask") is not None:
                fields[f"{side}_mask"] = _fitting(side, tokens, f"{side}_mask", fields[f"{side}_mask"])
        return cls(chosen, rejected, **fields)


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
        return cls(**{"lengths": _count_of(logps, token_mask), **_summed(logps, token_mask, fields)})


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
        return cls(**{"lengths": _count_of(logps, token_mask), **_summed(logps, token_mask, fields)})


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
        return cls(**_summed(logps, token_mask, fields))


class Denoising(NamedTuple):
    """Denoising errors of chosen against rejected images or clips, at one timestep and one noise for both.

    Attributes:
        chosen: (batch,) mean squared error of the predicted noise of the chosen one under the policy.
        rejected: (batch,) the same of the rejected one.
        ref_chosen: (batch,) the same of the chosen one under the reference policy.
        ref_rejected: (batch,) the same of the rejected one.
        timestep: (batch,) the timestep of the pair.
    """

    chosen: Array
    rejected: Array
    ref_chosen: Array = None
    ref_rejected: Array = None
    timestep: Array = None


# Shape of each field, in dimensions of the batch: "b" a pair, "t"/"u" tokens of either side, "k" list, "m" opponents,
# "c" calibration samples, "d" an embedding; and what it holds: log-probs, real data, integers, or a mask.
SHAPES: dict[type, dict[str, tuple[str, str]]] = {
    Pairs: {
        **dict.fromkeys(("chosen", "rejected", "ref_chosen", "ref_rejected"), ("b", "logp")),
        **dict.fromkeys(("chosen_len", "rejected_len", "label", "margin", "entropy"), ("b", "number")),
        "annotator": ("b", "integer"),
        "prompt_embedding": ("bd", "number"),
        **dict.fromkeys(("opponents_chosen", "opponents_rejected"), ("mb", "logp")),
        **dict.fromkeys(("calibration", "ref_calibration"), ("c", "logp")),
    },
    TokenPairs: {
        **dict.fromkeys(("chosen", "ref_chosen", "chosen_kl"), ("bt", "logp")),
        **dict.fromkeys(("rejected", "ref_rejected", "rejected_kl"), ("bu", "logp")),
        "chosen_mask": ("bt", "mask"),
        "rejected_mask": ("bu", "mask"),
        "chosen_changed": ("bt", "mask"),
        "rejected_changed": ("bu", "mask"),
        **dict.fromkeys(("chosen_weights", "chosen_collision"), ("bt", "number")),
        **dict.fromkeys(("rejected_weights", "rejected_collision"), ("bu", "number")),
        "label": ("b", "number"),
    },
    Ranked: {
        **dict.fromkeys(("logps", "ref_logps"), ("bk", "logp")),
        **dict.fromkeys(("lengths", "scores"), ("bk", "number")),
        "mask": ("bk", "mask"),
    },
    Unpaired: {
        **dict.fromkeys(("logps", "ref_logps"), ("b", "logp")),
        "desirable": ("b", "mask"),
        **dict.fromkeys(("lengths", "weights", "kl"), ("b", "number")),
        **dict.fromkeys(("kl_logps", "kl_ref_logps"), ("c", "logp")),
    },
    Samples: {
        **dict.fromkeys(("logps", "anchor_logps", "ref_logps"), ("bk", "logp")),
        "winrates": ("bk", "number"),
    },
    Denoising: {
        **dict.fromkeys(("chosen", "rejected", "ref_chosen", "ref_rejected"), ("b", "logp")),
        "timestep": ("b", "number"),
    },
}


def _swapped_sides(batch: Any) -> dict[str, Array]:
    other = {"chosen": "rejected", "rejected": "chosen"}
    swapped = {}
    for field in batch._fields:
        for side, opposite in other.items():
            if side in field:
                swapped[field] = getattr(batch, field.replace(side, opposite))
    return swapped


def _count(xp: Namespace, tokens: Array, mask: Array) -> Array:
    wide = xp.widen(tokens) if xp.kind(tokens) == "half" else tokens  # 16 bits do not count to a thousand
    return xp.sum(xp.ones_like(wide) if mask is None else xp.astype(mask, wide), -1)


def _count_of(logps: Array, token_mask: Array) -> Array:
    return _count(namespace(logps), logps, _fitting("logps", logps, "token_mask", token_mask))


def _summed(logps: Array, token_mask: Array, fields: dict[str, Array]) -> dict[str, Array]:
    """The fields with `logps`, and all log-probs that are per token too, summed over the tokens of the mask."""
    xp, mask = namespace(logps), _fitting("logps", logps, "token_mask", token_mask)
    made = dict(fields)
    for name in ("ref_logps", "anchor_logps"):
        if made.get(name) is not None and made[name].ndim == logps.ndim:
            _same_tokens("logps", logps, name, made[name])
            made[name] = _masked_sum(xp, made[name], mask)
    return {"logps": _masked_sum(xp, logps, mask), **made}


def _masked_sum(xp: Namespace, x: Array, mask: Array) -> Array:
    if xp.kind(x) == "half":  # a bf16 sum over a thousand tokens is wrong by nats
        x = xp.widen(x)
    return xp.sum(x if mask is None else xp.where(mask, x, xp.constant(0.0, x)), -1)


def _fitting(name: str, x: Array, mask_name: str, mask: Array) -> Array:
    if mask is None:
        return None
    _same_tokens(name, x, mask_name, mask)
    kind = namespace(mask).kind(mask)
    if kind not in ("bool", "integer"):  # a tokenizer's mask is 0 and 1
        raise TypeError(f"{mask_name} must be boolean, or integers, 0 and 1; got {mask.dtype}.")
    if kind == "bool":
        return mask
    values = namespace(mask).values(mask)
    others = None if values is None else values[(values != 0) & (values != 1)]
    if others is not None and others.size:
        raise ValueError(f"{mask_name} must hold 0 and 1; got {others[0]}. Of labels, give labels != -100.")
    return mask != 0


def _same_tokens(name: str, x: Array, other: str, y: Array, lead: int = 0) -> None:
    if namespace(y) is not namespace(x):
        raise TypeError(f"{other} must be of the library of {name}, {namespace(x).name}; got {namespace(y).name}.")
    if tuple(y.shape)[lead:] != tuple(x.shape):
        verb = "end in" if lead else "have"
        raise ValueError(f"{other} must {verb} the shape of {name}, {tuple(x.shape)}; got {tuple(y.shape)}.")
