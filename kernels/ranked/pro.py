"""PRO, as `poz.objectives.pro`, on mean log-probs: one pivot against everything ranked below it."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import log1p, times
from poz.kernels.plan import ListPlan, Values, Variants


@triton.jit
def below(pivot, index, scores, gaps, later):
    """Loss of one pivot, its gradient in every score, and 0: the terms of a list are summed, not averaged.

    The last completion has nothing below it and no term.
    """
    largest = tl.max(tl.where(later, gaps, float("-inf")))
    own = times(largest, tl.sum(tl.where(index == pivot, scores, 0.0)))
    others = tl.where(later, times(gaps, scores), float("-inf"))
    top = tl.maximum(own, tl.max(others))
    shares = tl.exp(others - top)
    rest = tl.sum(shares)
    total = tl.exp(own - top) + rest
    loss = tl.where(own >= top, log1p(rest), top - own + tl.log(total))
    pulls = tl.where(index == pivot, -largest * (rest / total), tl.where(later, gaps * (shares / total), 0.0))
    some = tl.sum(later.to(tl.int32)) > 0
    return tl.where(some, loss, 0.0), tl.where(some, pulls, 0.0), 0.0


@triton.jit
def reward_gap(pivot, index, scores, rewards, valid, params):
    """LSE(s_k g, {s_i g_i}) - s_k g with g_i = R_k - R_i for i > k and g = max g_i."""
    gaps = tl.sum(tl.where(index == pivot, rewards, 0.0)) - rewards
    return below(pivot, index, scores, gaps, valid & (index > pivot))


@triton.jit
def none(pivot, index, scores, rewards, valid, params):
    """The same with every gap 1: the Plackett-Luce likelihood."""
    return below(pivot, index, scores, tl.where(valid, 1.0, 0.0), valid & (index > pivot))


def plan(values: Values, anchors: int) -> ListPlan:
    """What the skeleton of ranked lists is told."""
    gaps = values["temperature"] == "reward_gap"
    return ListPlan(reward_gap if gaps else none, (), rewards=gaps, mean=True, sft_weight=values["sft_weight"])


VARIANTS: Variants = ({}, {"temperature": "none"})
