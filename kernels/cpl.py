"""CPL, arXiv 2310.13639 eq. 5 and 6, on discounted sums of per-step log-probs, and its behaviour-cloning term."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import sigmoid, softplus, times


@triton.jit
def labelled(chosen, rejected, columns, params):
    """softplus(x) y + softplus(x') (1-y) with x = λ A_r - A_c, x' = λ A_c - A_r, A = α score, y = P(chosen better)."""
    alpha, bias = params
    label = columns[0]
    wrong, other = alpha * (bias * rejected - chosen), alpha * (bias * chosen - rejected)
    loss = times(label, softplus(wrong)) + times(1.0 - label, softplus(other))
    ours, theirs = alpha * label * sigmoid(wrong), alpha * (1.0 - label) * sigmoid(other)
    return loss, bias * theirs - ours, bias * ours - theirs


@triton.jit
def cloning(chosen, rejected, columns, params):
    """-(a chosen + b rejected) on mean log-probs; a and b are the weights of the two segments."""
    return -(times(columns[0], chosen) + times(columns[1], rejected)), -columns[0], -columns[1]
