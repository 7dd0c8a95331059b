"""From the log-probs of tokens to sums over completions."""

from __future__ import annotations

from typing import Any

from poz._nearest import meant
from poz.backends import Array, Namespace, namespace


def swapped(batch: Any, antisymmetric: tuple[str, ...] = ()) -> dict[str, Array]:
    """Of each field that names a side that of the other side, 1 - label, and the antisymmetric fields of the other sign."""
    other = {"chosen": "rejected", "rejected": "chosen"}
    made = {}
    for field in batch._fields:
        for side, opposite in other.items():
            if side in field:
                made[field] = getattr(batch, field.replace(side, opposite))
    like = next((x for x in made.values() if x is not None), None)
    for field in antisymmetric:
        if (x := getattr(batch, field)) is not None:
            made[field] = -_real(field, x, like)
    if batch.label is not None:
        made["label"] = 1 - _real("label", batch.label, like)
    return made


def _real(name: str, x: Array, like: Array) -> Array:
    """The field; integers and booleans, which have no sign or wrap round, in the dtype of log-probs or scores."""
    xp = namespace(x)
    if xp.kind(x) not in ("integer", "bool"):
        return x
    if not xp.is_array(like):
        raise TypeError(f"{name} is of {xp.name} and the sides of {namespace(like).name}; give one library's arrays.")
    return xp.astype(x, xp.widen(like) if xp.kind(like) == "half" else like)


def count(xp: Namespace, tokens: Array, mask: Array) -> Array:
    """How many tokens of each completion are true in the mask; all of them without one."""
    wide = xp.widen(tokens) if xp.kind(tokens) == "half" else tokens  # 16 bits do not count to a thousand
    return xp.sum(xp.ones_like(wide) if mask is None else xp.astype(mask, wide), -1)


def count_of(logps: Array, token_mask: Array) -> Array:
    """The same of the log-probs of completions, whose mask may be a tokenizer's."""
    return count(namespace(logps), logps, fitting("logps", logps, "token_mask", token_mask))


def summed(logps: Array, token_mask: Array, fields: dict[str, Array]) -> dict[str, Array]:
    """The fields with `logps`, and all log-probs that are per token too, summed over the tokens of the mask."""
    xp, (logps, mask) = namespace(logps), fitted("logps", logps, "token_mask", token_mask)
    made = dict(fields)
    for name in ("ref_logps", "anchor_logps"):
        if made.get(name) is not None and made[name].ndim == logps.ndim:
            same_tokens("logps", logps, name, made[name])
            made[name] = masked_sum(xp, made[name], mask)
    return {"logps": masked_sum(xp, logps, mask), **made}


def masked_sum(xp: Namespace, x: Array, mask: Array) -> Array:
    """Sums over the tokens that are true in the mask."""
    if xp.kind(x) == "half":  # a bf16 sum over a thousand tokens is wrong by nats
        x = xp.widen(x)
    return xp.sum(x if mask is None else xp.where(mask, x, xp.constant(0.0, x)), -1)


def fitting(name: str, x: Array, mask_name: str, mask: Array) -> Array:
    """The mask as booleans, if it has the shape of x; None where there is none."""
    if mask is None:
        return None
    same_tokens(name, x, mask_name, mask)
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


def fitted(name: str, x: Array, mask_name: str, mask: Array) -> tuple[Array, Array]:
    """x, and the mask as of `fitting`; where the mask cannot be read, x is NaN at what is neither 0 nor 1, as labels are."""
    found = fitting(name, x, mask_name, mask)
    if mask is None or found is mask:
        return x, found
    xp = namespace(x)
    if xp.values(mask) is not None:
        return x, found
    return xp.where((mask == 0) | (mask == 1), x, xp.constant(float("nan"), x)), found


LAYOUTS = ("cat", "interleaved")


def sides_of(rows: dict[str, Array], count: int, layout: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Of arrays with one row for each completion, those of chosen and those of rejected ones."""
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {LAYOUTS}; got {layout!r}.{meant(layout, LAYOUTS)}")
    if count % 2:
        raise ValueError(f"Pairs need as many chosen as rejected completions; got {count} completions.")
    for name, x in rows.items():
        if x is not None and x.shape[0] != count:
            raise ValueError(f"{name} must have a row for each of the {count} completions; got {tuple(x.shape)}.")
    half = count // 2
    parts = (slice(half), slice(half, None)) if layout == "cat" else (slice(0, None, 2), slice(1, None, 2))
    chosen, rejected = ({name: None if x is None else x[part] for name, x in rows.items()} for part in parts)
    return chosen, rejected


def owners(name: str, tokens: Array, cu_seqlens: Array) -> tuple[Array, Array, int]:
    """The packed tokens, which completion each belongs to, and how many completions there are.

    Where `cu_seqlens` cannot be read and do not ascend from 0 to the number of tokens, the tokens are NaN.
    """
    xp = namespace(tokens)
    if tokens.ndim != 1:
        raise ValueError(f"{name} must be (tokens,), completions one behind the other; got {tuple(tokens.shape)}.")
    if namespace(cu_seqlens) is not xp or xp.kind(cu_seqlens) != "integer":
        raise TypeError(
            f"cu_seqlens must be integers of {xp.name}, as {name} are; got {cu_seqlens.dtype} of {namespace(cu_seqlens).name}."
        )
    size, values = tokens.shape[0], xp.values(cu_seqlens)
    if cu_seqlens.ndim != 1 or not cu_seqlens.shape[0]:
        raise ValueError(f"cu_seqlens must be (completions + 1,); got {tuple(cu_seqlens.shape)}.")
    if values is not None and (values[0] != 0 or values[-1] != size or (values[1:] < values[:-1]).any()):
        raise ValueError(f"cu_seqlens must ascend from 0 to the {size} tokens of {name}; got {values.tolist()}.")
    if values is None:
        fits = (cu_seqlens[0] == 0) & (cu_seqlens[-1] == size) & (cu_seqlens[1:] >= cu_seqlens[:-1]).all()
        tokens = xp.where(fits, tokens, xp.constant(float("nan"), tokens))
    inner = xp.integers(cu_seqlens[1:-1])
    begun = xp.segment_sum(xp.ones_like(inner), inner, size + 1)
    return tokens, xp.cumsum(begun, 0)[:size], cu_seqlens.shape[0] - 1


def check_alike(tokens: Array, cu_seqlens: Array) -> None:
    """Refuses as many tokens as completions, unless each is seen to have one: then a sum is its token."""
    starts = namespace(cu_seqlens).values(cu_seqlens)
    if starts is None or (starts[1:] - starts[:-1] != 1).any():
        raise ValueError(
            f"ref_logps of {tokens.shape[0]} numbers may be those of as many tokens or sums of as many completions. Leave them "
            "out, and give sums with pairs._replace(ref_chosen=..., ref_rejected=...)."
        )


def same_tokens(name: str, x: Array, other: str, y: Array, lead: int = 0) -> None:
    """Refuses what is of another library or shape than x, `lead` dimensions in front aside."""
    if namespace(y) is not namespace(x):
        raise TypeError(f"{other} must be of the library of {name}, {namespace(x).name}; got {namespace(y).name}.")
    if tuple(y.shape)[lead:] != tuple(x.shape):
        verb = "end in" if lead else "have"
        raise ValueError(f"{other} must {verb} the shape of {name}, {tuple(x.shape)}; got {tuple(y.shape)}.")
