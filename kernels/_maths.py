"""Stable float32 maths for point functions. NaN goes in and comes out."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def log1p(x):
    """log(1 + x) for x >= 0, to a few units in the last place: log(u) x / (u - 1) with u = fl(1 + x)."""
    u = 1.0 + x
    return tl.where(u == 1.0, x, tl.log(u) * (x / tl.where(u == 1.0, 1.0, u - 1.0)))


@triton.jit
def softplus(x):
    """log(1 + e^x) without overflow."""
    return tl.where(x > 0.0, x, 0.0) + log1p(tl.exp(-tl.abs(x)))


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x) without overflow, exact to the last places in both tails."""
    tail = tl.exp(-tl.abs(x))
    return tl.where(x >= 0.0, 1.0, tail) / (1.0 + tail)


@triton.jit
def times(weight, value):
    """The product, where a weight of 0 removes an infinity but keeps a NaN."""
    return tl.where((weight == 0.0) & (value == value), 0.0, weight * value)


@triton.jit
def soft_label(z, hit, miss):
    """softplus(-z) + miss z, the cross-entropy of the logit z against the label `hit`, without cancellation.

    hit + miss = 1, each exact to its last places.
    """
    return log1p(tl.exp(-tl.abs(z))) + times(tl.where(z > 0.0, miss, hit), tl.abs(z))


@triton.jit
def along(loss, slope):
    """A point that depends on chosen - rejected alone: (loss, d loss / d chosen, d loss / d rejected)."""
    return loss, slope, -slope


@triton.jit
def exponential(x):
    """e^x and its slope; beyond x = 60 its tangent goes on, as in `poz.terms.exponential`."""
    slope = tl.exp(tl.where(x > 60.0, 60.0, x))
    return slope * (1.0 + tl.where(x > 60.0, x - 60.0, 0.0)), slope


@triton.jit
def expm1(x):
    """e^x - 1, exact to the last places near 0 too: (u - 1) x / log(u) with u = fl(e^x)."""
    u = tl.exp(x)
    near = tl.where(u == 1.0, x, (u - 1.0) * (x / tl.log(tl.where(u == 1.0, 2.0, u))))
    return tl.where(tl.abs(x) < 1.0, near, u - 1.0)
