"""Sub-expressions that have a name in the literature and several users."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from poz.backends import Array, Namespace
from poz.domains import NUMBERS
from poz.families import Pairs

CAP = 60.0  # e^60 = 1e26 leaves float32 room for what it is multiplied with
LINKS = ("logistic", "hinge", "square", "exponential", "truncated_quadratic", "savage")


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


def numbers(xp: Namespace, value: Any, like: Array) -> Array:
    """A hyper-parameter, plain, array or traced, as an array of the shape of `like`."""
    return xp.ones_like(like) * value


def exponential(xp: Namespace, x: Array) -> Array:
    """e^x of a log-ratio, continued by its tangent beyond x = `CAP`: finite, convex, and its slope never dies."""
    return xp.exp(xp.where(x > CAP, xp.constant(CAP, x), x)) * (1 + xp.relu(x - CAP))


def exponential_minus_one(xp: Namespace, x: Array) -> Array:
    """`exponential` minus 1, accurate near x = 0."""
    return xp.expm1(xp.where(x > CAP, xp.constant(CAP, x), x)) + math.exp(CAP) * xp.relu(x - CAP)


def linked(xp: Namespace, z: Array, link: str) -> Array:
    """A classification loss of the logit z: how GPO turns a margin into a loss."""
    if link == "logistic":
        return -xp.log_sigmoid(z)
    if link == "exponential":
        return exponential(xp, -z)
    if link == "savage":
        return xp.sigmoid(-z) ** 2
    if link == "square":
        return (1 - z) ** 2
    return xp.relu(1 - z) if link == "hinge" else xp.relu(1 - z) ** 2


def masked(xp: Namespace, x: Array, mask: Array) -> Array:
    """0 where the mask is false, whatever stands there."""
    return x if mask is None else xp.where(mask, x, xp.constant(0.0, x))


def smoothed(xp: Namespace, z: Array, label_smoothing: Array) -> Array:
    """Binary cross-entropy of the logit z against 1 - label_smoothing: -(1-e) log s(z) - e log s(-z)."""
    if type(label_smoothing) in NUMBERS and label_smoothing == 0:
        return -xp.log_sigmoid(z)  # 0 times the other half would be NaN at an infinite z
    return -times(xp, 1 - label_smoothing, xp.log_sigmoid(z)) - times(xp, label_smoothing, xp.log_sigmoid(-z))


def spared(xp: Namespace, weight: Array, value: Array) -> Array:
    """The value, or 0 where it is infinite and its weight is 0: the limit, for a term and its slope; a NaN stays."""
    if type(weight) in NUMBERS and weight != 0:
        return value
    return xp.where((abs(value) == np.inf) & (weight == 0), xp.constant(0.0, value), value)


def times(xp: Namespace, weight: Array, value: Array) -> Array:
    """weight * value, where a weight of 0 removes an infinity (the limit of 0 times it) but keeps a NaN."""
    return weight * spared(xp, weight, value)
