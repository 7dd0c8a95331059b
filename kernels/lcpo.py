"""LCPO-EM (RE-PO), arXiv 2509.24159 eq. 3 and 5, over the point function of its base objective.

`columns` are the logit of the annotator's reliability, then the base's column as it is and as it is for the swapped
pair. The posterior w = σ(u + logit η), u = L(swapped) - L, is a constant in the gradient.
"""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, soft_label, times


@triton.jit
def gibbs(chosen, rejected, columns, params, BASE: tl.constexpr):
    """softplus(-u) + (1-w) u; d/du = σ(u) - w = σ(u) (1-w) (1 - η / (1-η)), a product in which nothing cancels."""
    loss, up, down = BASE(chosen, rejected, columns[1:2], params)
    other, other_up, other_down = BASE(rejected, chosen, columns[2:3], params)
    u = other - loss
    w, miss = sigmoid(u + columns[0]), sigmoid(-u - columns[0])
    slope = sigmoid(u) * miss * (1.0 - tl.exp(columns[0]))
    return soft_label(u, w, miss), slope * (other_down - up), slope * (other_up - down)


@triton.jit
def weighted(chosen, rejected, columns, params, BASE: tl.constexpr):
    """L w + L(swapped) (1-w)."""
    loss, up, down = BASE(chosen, rejected, columns[1:2], params)
    other, other_up, other_down = BASE(rejected, chosen, columns[2:3], params)
    w, miss = sigmoid(other - loss + columns[0]), sigmoid(loss - other - columns[0])
    return times(w, loss) + times(miss, other), w * up + miss * other_down, w * down + miss * other_up
