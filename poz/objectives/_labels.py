"""Checks of labels, entropies and probabilities, which several objectives on pairs read, and differences of known numbers."""

from __future__ import annotations

import numpy as np

from poz._checks import least
from poz.backends import Array, Namespace
from poz.families import Pairs, RewardPairs, TokenPairs

ROUNDED = 1e-3  # nats per token: what rounding adds to a completion that is certain


def check(xp: Namespace, objective: str, pairs: Pairs | TokenPairs | RewardPairs) -> None:
    """Refuses labels that are no probabilities, where they can be read; a NaN passes, as one in the losses."""
    labels = None if pairs.label is None else xp.values(pairs.label)
    outside = None if labels is None else labels[(labels < 0) | (labels > 1)]
    if outside is not None and outside.size:
        raise ValueError(
            f"`{objective}` needs labels in [0, 1], the probability that chosen is the better one; got {outside[0]}. "
            "For votes of -1 and 1, give (label + 1) / 2."
        )


def check_probabilities(xp: Namespace, objective: str, pairs: Pairs) -> None:
    """Refuses mean log-probs above 0, where they can be read: of densities there is neither odds nor perplexity."""
    for side in ("chosen", "rejected"):
        if least(xp, getattr(pairs, side), -1) >= 0:
            continue
        total, length = xp.values(getattr(pairs, side)), xp.values(getattr(pairs, f"{side}_len"))
        if total is None or length is None:
            continue
        mean = total / np.maximum(length, 1)
        above = mean[np.isfinite(mean) & (mean > ROUNDED)]
        if above.size:
            raise ValueError(
                f"`{objective}` needs log-probs of at most 0, of probabilities; {side} has a mean of {above[0]:g} nats per "
                "token. Densities of continuous actions are for `cpl`."
            )


def check_entropy(xp: Namespace, objective: str, pairs: Pairs) -> None:
    """Refuses entropies that are no shares, where they can be read: beyond 1 the dispersion would turn the preference round."""
    entropy = None if pairs.entropy is None else xp.values(pairs.entropy)
    outside = None if entropy is None else entropy[np.isfinite(entropy) & ((entropy <= 0) | (entropy > 1))]
    if outside is not None and outside.size:
        raise ValueError(
            f"`{objective}` needs an entropy in (0, 1], a share of the log of the vocabulary size; got {outside[0]}. Divide "
            "entropies in nats by that."
        )


def difference(xp: Namespace, chosen: Array, rejected: Array, like: Array) -> Array:
    """Chosen minus rejected in the widest dtype of them and `like`; of integers exact before it is rounded."""
    kinds = [xp.kind(x) for x in (chosen, rejected)]
    for x, kind in zip((chosen, rejected), kinds, strict=True):
        like = x if kind == "real" and x.dtype.itemsize > like.dtype.itemsize else like
    gap = xp.astype(chosen, like) - xp.astype(rejected, like)
    if not {"integer", "bool"}.issuperset(kinds):
        return gap
    exact = xp.integers(chosen) - xp.integers(rejected)
    return xp.where((exact > 0) == (chosen > rejected), xp.astype(exact, like), gap)  # else it has overflown
