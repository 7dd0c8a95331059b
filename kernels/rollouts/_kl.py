"""What a token says of the KL to the reference, as `poz.objectives.rollouts._steps.divergence`: (value, slope in l).

x = log π_ref - l, d = l - o the log-ratio, `apart` = log π_ref - o.
"""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import expm1, exponential

CAP: tl.constexpr = tl.constexpr(60.0)


@triton.jit
def difference(x):
    """e^x - x - 1 and its slope; near 0, where it would cancel, x²/2 + x³/6 + ..., whose next term is below 1e-9 of it."""
    low = tl.where(x > CAP, CAP, x)
    rise = expm1(low)
    far = rise + tl.where(x > CAP, tl.exp(low) * (x - CAP), 0.0) - x
    small = tl.where(tl.abs(x) < 1.0, x, 0.0)
    rest = 1.0 + small / 12.0
    for k in tl.static_range(9):
        rest = 1.0 + small / (11.0 - k) * rest
    return tl.where(tl.abs(x) < 1.0, small * small / 2.0 * rest, far), rise


@triton.jit
def k1(x, d, apart):
    """-x."""
    return -x, 1.0 + 0.0 * x


@triton.jit
def k2(x, d, apart):
    """x² / 2."""
    return x * x / 2.0, -x


@triton.jit
def k3(x, d, apart):
    """e^x - x - 1."""
    value, rise = difference(x)
    return value, -rise


@triton.jit
def absolute(x, d, apart):
    """|x|."""
    return tl.abs(x), tl.where(x > 0.0, -1.0, tl.where(x < 0.0, 1.0, x))


@triton.jit
def k1_on_policy(x, d, apart):
    """k1 with the slope of k2."""
    return -x, -x


@triton.jit
def k3_on_policy(x, d, apart):
    """k3 with the slope of k2."""
    return difference(x)[0], -x


@triton.jit
def score_k1(x, d, apart):
    """k1 with the slope of k1 e^(l - sg l)."""
    return -x, 1.0 - x


@triton.jit
def ratio_k1(x, d, apart):
    """-x r with r = e^d."""
    ratio, slope = exponential(d)
    return -x * ratio, ratio - x * slope


@triton.jit
def ratio_k3(x, d, apart):
    """r (e^x - x - 1), how far the exponential at d + x lies above its tangent at d; its slope is -x r, and 0 on the tangent."""
    straight = d > CAP
    ratio = tl.exp(tl.where(straight, CAP, d))
    near = ratio * difference(tl.where(straight, tl.where(apart < CAP, apart - CAP, 0.0), x))[0]
    far = exponential(apart)[0] - (1.0 + x) * ratio
    return tl.where((tl.abs(x) < 1.0) | straight, near, far), tl.where(straight, 0.0, -x * ratio)


ESTIMATORS = {
    "k1": k1,
    "k2": k2,
    "k3": k3,
    "abs": absolute,
    "k1+": k1_on_policy,
    "k3+": k3_on_policy,
    "s*k1": score_k1,
    "r*k1": ratio_k1,
    "r*k3": ratio_k3,
}
"""By the value of `kl`."""
