"""Sub-expressions that have a name in the literature and several users."""

from __future__ import annotations

import numpy as np

from poz.backends import Array, Namespace
from poz.domains import NUMBERS
from poz.families import Pairs


def log_ratio_margin(pairs: Pairs) -> Array:
    """h = (l_w - l_l) - (r_w - r_l): how much more than the reference the policy prefers chosen, in nats."""
    return (pairs.chosen - pairs.rejected) - (pairs.ref_chosen - pairs.ref_rejected)


def average(xp: Namespace, total: Array, length: Array) -> Array:
    """Mean log-prob per token; an empty completion counts as one token, so its mean is its sum, 0."""
    return total / xp.maximum(xp.astype(length, total), 1.0)


def gap(xp: Namespace, pairs: Pairs, of: str = "", length_normalized: bool = False) -> Array:
    """Chosen minus rejected under one policy (`of` = "", "ref_" or "opponents_"), of sums or of per-token means."""
    chosen, rejected = getattr(pairs, f"{of}chosen"), getattr(pairs, f"{of}rejected")
    if length_normalized:
        chosen, rejected = average(xp, chosen, pairs.chosen_len), average(xp, rejected, pairs.rejected_len)
    return chosen - rejected


def smoothed(xp: Namespace, z: Array, label_smoothing: Array) -> Array:
    """Binary cross-entropy of the logit z against 1 - label_smoothing: -(1-e) log s(z) - e log s(-z)."""
    if type(label_smoothing) in NUMBERS and label_smoothing == 0:
        return -xp.log_sigmoid(z)  # 0 times the other half would be NaN at an infinite z
    return -(1 - label_smoothing) * xp.log_sigmoid(z) - label_smoothing * xp.log_sigmoid(-z)


def times(xp: Namespace, weight: Array, value: Array) -> Array:
    """weight * value, where a weight of 0 removes an infinity (the limit of 0 times it) but keeps a NaN."""
    if type(weight) in NUMBERS and weight != 0:
        return weight * value
    return weight * xp.where((abs(value) == np.inf) & (weight == 0), xp.constant(0.0, value), value)
