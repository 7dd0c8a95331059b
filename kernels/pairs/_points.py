"""Points that several objectives use."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, log1p, sigmoid, soft_label, softplus, times


@triton.jit
def logistic(chosen, rejected, columns, params):
    """softplus(-z) + ε z with z = β (chosen - rejected); d/dz = ε - σ(-z)."""
    beta, smoothing = params
    z = beta * (chosen - rejected)
    return along(soft_label(z, 1.0 - smoothing, smoothing), beta * (smoothing - sigmoid(-z)))


@triton.jit
def margin_logistic(chosen, rejected, columns, params):
    """softplus(-z) + ε z with z = β (chosen - rejected) - γ; d/dz = ε - σ(-z)."""
    beta, gamma, smoothing = params
    z = beta * (chosen - rejected) - gamma
    return along(soft_label(z, 1.0 - smoothing, smoothing), beta * (smoothing - sigmoid(-z)))


@triton.jit
def hinge(chosen, rejected, columns, params):
    """max(0, 1 - z) with z = β (chosen - rejected) - γ; d/dz = -1 below the kink at z = 1, 0 on it and above."""
    beta, gamma = params
    z = beta * (chosen - rejected) - gamma
    slope = tl.where(z >= 1.0, 0.0, tl.where(z < 1.0, -1.0, z))
    return along(tl.where(z >= 1.0, 0.0, 1.0 - z), beta * slope)


@triton.jit
def squared_distance(chosen, rejected, columns, params):
    """(h - target)² with h = chosen - rejected; d/dh = 2 (h - target)."""
    error = chosen - rejected - params[0]
    return along(error * error, 2.0 * error)


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


@triton.jit
def linear(chosen, rejected, columns, params):
    """softplus(-z) with z = β (chosen - rejected) - α gap; d/dz = -σ(-z)."""
    beta, alpha = params
    z = beta * (chosen - rejected) - times(alpha, columns[0])
    return along(softplus(-z), -beta * sigmoid(-z))
