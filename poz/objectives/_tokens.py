"""The special cases of objectives on tokens that are objectives on the sums over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poz.families import Pairs, TokenPairs
from poz.objective import Limit


def summed(pairs: TokenPairs) -> Pairs:
    """One log-prob per completion, the sum over its valid tokens, and their number."""
    masks = {"chosen_mask": pairs.chosen_mask, "rejected_mask": pairs.rejected_mask}
    return Pairs.from_tokens(
        pairs.chosen, pairs.rejected, **masks, ref_chosen=pairs.ref_chosen, ref_rejected=pairs.ref_rejected
    )


def whole(pairs: TokenPairs) -> TokenPairs:
    """All tokens valid."""
    return pairs._replace(chosen_mask=None, rejected_mask=None)


def first(pairs: TokenPairs) -> TokenPairs:
    """All tokens valid, those beyond the shorter side's number cut off."""
    size = min(pairs.chosen.shape[-1], pairs.rejected.shape[-1])
    cut = {name: x[..., :size] for name, x in whole(pairs)._asdict().items() if x is not None and name != "label"}
    return pairs._replace(chosen_mask=None, rejected_mask=None, **cut)


def both(pairs: TokenPairs, **constants: float) -> TokenPairs:
    """One number for all tokens of both sides as each field, named without its side."""
    sides = {"chosen": 0 * pairs.chosen, "rejected": 0 * pairs.rejected}
    filled = {f"{side}_{name}": zero + value for name, value in constants.items() for side, zero in sides.items()}
    return pairs._replace(**filled)


def limit(
    to: str,
    why: str,
    batch: Callable[[TokenPairs], tuple[TokenPairs, Pairs]] = lambda pairs: (pairs, summed(pairs)),
    **values: Any,
) -> Limit:
    """With these hyper-parameters the objective is `to`, of the same β, of the sums over the valid tokens."""
    return Limit(to, why, lambda p: {**p, **values}, lambda p: {"beta": p["beta"]}, batch)
