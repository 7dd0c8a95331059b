"""A batch of pairs as families of which a pair tells all: a list of two, and completions on their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from poz.backends import Array, Namespace
from poz.families import Pairs, Ranked, Samples, Unpaired
from poz.families._family import layout_of

MADE = (Ranked, Samples, Unpaired)
"""The families that pairs make."""

_READ = {
    "logps": ("chosen", "rejected"),
    **dict.fromkeys(("ref_logps", "anchor_logps"), ("ref_chosen", "ref_rejected")),
    "lengths": ("chosen_len", "rejected_len"),
    **dict.fromkeys(("desirable", "scores", "winrates"), ()),
}
_OPTIONAL = {"scores": "margin", "winrates": "label"}


def read_of_pairs(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Of fields of another family: those of `Pairs` that make them, those that may, and what pairs do not give."""
    names = tuple(names)
    needed = tuple(dict.fromkeys(field for name in names for field in _READ.get(name, ())))
    used = tuple(_OPTIONAL[name] for name in names if name in _OPTIONAL)
    return needed, used, tuple(name for name in names if name not in _READ)


def list_of(xp: Namespace, family: type[Any], pairs: Pairs) -> Any:
    """Lists of two, (batch, 2), chosen first.

    The scores are the known reward gap, or 1 where it is not given, and 0; the win rates are those of each over the other,
    `label` and 1 - `label`, or 1 and 0; and the last iteration's policy is the reference, as in a first one.
    """
    ones = xp.ones_like(pairs.chosen)
    margin = ones if pairs.margin is None else xp.astype(pairs.margin, ones)
    label = ones if pairs.label is None else xp.astype(pairs.label, ones)
    reference = _both(xp, pairs.ref_chosen, pairs.ref_rejected)
    (side,) = layout_of(family).sides
    made = {
        side: _both(xp, pairs.chosen, pairs.rejected),
        f"ref_{side}": reference,
        f"anchor_{side}": reference,
        "scores": _both(xp, margin, 0 * ones),
        "winrates": _both(xp, label, 1 - label),
        **dict.fromkeys(layout_of(family).lengths.values(), _both(xp, pairs.chosen_len, pairs.rejected_len)),
    }
    return family(**{name: x for name, x in made.items() if name in family._fields})


def alone(xp: Namespace, pairs: Pairs, side: str) -> Unpaired:
    """One completion of each pair: chosen is desirable, and rejected is not."""
    logps, ones = getattr(pairs, side), xp.ones_like(pairs.chosen)
    return Unpaired(
        logps,
        ref_logps=getattr(pairs, f"ref_{side}"),
        desirable=ones > 0 if side == "chosen" else ones < 0,
        lengths=getattr(pairs, f"{side}_len"),
    )


def _both(xp: Namespace, chosen: Array, rejected: Array) -> Array:
    if chosen is None or rejected is None:
        return None
    return xp.concatenate([chosen[..., None], rejected[..., None]], -1)
