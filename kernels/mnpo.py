"""MNPO, arXiv 2509.23102 eq. 17: a distance between a = β (chosen - rejected) and a target gap b.

b is a constant, or a multiple of the known reward gap where there is such a column. The hard target (b = ∞) is DPO's
logistic.
"""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, log1p, sigmoid, soft_label, times


@triton.jit
def squared(chosen, rejected, columns, params):
    """(a - b)²; d/da = 2 (a - b)."""
    error = params[0] * (chosen - rejected) - target(columns, params[1])
    return along(error * error, 2.0 * params[0] * error)


@triton.jit
def backward_kl(chosen, rejected, columns, params):
    """KL of Bernoulli σ(b) from σ(a): cross-entropy minus entropy; d/da = σ(a) - σ(b) = σ(-b) - σ(-a).

    It is the same for -a and -b, and computed where b >= 0, so that σ(-b) keeps its digits.
    """
    b = target(columns, params[1])
    side = tl.where(b < 0.0, -1.0, 1.0)
    a, b = side * params[0] * (chosen - rejected), side * b
    miss, tail = sigmoid(-b), tl.exp(-b)
    loss = soft_label(a, 1.0 - miss, miss) - log1p(tail) - times(miss, b)
    return along(loss, side * params[0] * (miss - sigmoid(-a)))


@triton.jit
def target(columns, number):
    """The gap b: `number`, times the known reward gap where it is given."""
    if len(columns) > 0:
        return number * columns[0]
    else:
        return number
