"""The skeleton of ranked lists: one program per list of any number of completions, each of any number of tokens."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import times
from poz.kernels._segments import outside_fill, segment_fill, segment_sum


@triton.jit
def ranked(
    logps,
    anchors,
    weights,
    rewards,
    offsets,
    lists,
    lengths,
    losses,
    gradient,
    count,
    tokens,
    sft_weight,
    hyper,
    POINT: tl.constexpr,
    MEAN: tl.constexpr,
    SFT: tl.constexpr,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Loss of each list and its gradient in every token, in one launch of `count` programs.

    Args:
        logps: (tokens,) packed log-probs, any float type.
        anchors: tuple of (tokens,) log-probs under other policies, packed alike.
        weights: tuple of float, one per anchor.
        rewards: (completions,) known rewards, or None.
        offsets: (completions + 1,) int64 borders of the completions, best first within a list.
        lists: (count + 1,) int64 borders of the lists, in completions.
        lengths: (completions,) divisors of the means, or None for the number of tokens; 0 counts as 1.
        losses: (count,) float32, written.
        gradient: (tokens,) float32, written, or None.
        count: lists.
        tokens: size of logps.
        sft_weight: factor of (K - 1)² times the negative summed log-prob of the best completion.
        hyper: tuple of float, hyper-parameters of the point (the name `params` is taken inside Triton's launcher).
        POINT: (pivot, index, scores, rewards, valid, params) -> (loss of this pivot, its gradient in every score,
            how many terms it has); the loss of a list is the sum over its pivots, divided by the number of terms
            where that is not 0.
        MEAN: whether a score is the mean over the tokens, not the sum.
        SFT: whether there is such a term.
        SIZE: a power of 2, at least the longest list.
        BLOCK: tokens per step.
    """
    here = tl.program_id(0).to(tl.int64)
    first, behind = tl.load(lists + here), tl.load(lists + here + 1)
    size = (behind - first).to(tl.int32)
    index = tl.arange(0, SIZE)
    valid = index < size

    sums = tl.zeros((SIZE,), tl.float32)
    k = size * 0
    while k < size:
        start, stop = tl.load(offsets + first + k), tl.load(offsets + first + k + 1)
        sums = tl.where(index == k, segment_sum(logps, anchors, weights, start, stop, 0.0, False, BLOCK), sums)
        k += 1

    scores = sums
    if MEAN:
        if lengths is not None:
            divisors = tl.load(lengths + first + index, mask=valid, other=1.0).to(tl.float32)
        else:
            starts = tl.load(offsets + first + index, mask=valid, other=0)
            divisors = (tl.load(offsets + first + index + 1, mask=valid, other=0) - starts).to(tl.float32)
        divisors = tl.maximum(divisors, 1.0)
        scores = sums / divisors
    known = tl.zeros((SIZE,), tl.float32)
    if rewards is not None:
        known = tl.load(rewards + first + index, mask=valid, other=0.0).to(tl.float32)

    loss, terms = 0.0, 0.0
    slopes = tl.zeros((SIZE,), tl.float32)
    k = size * 0
    while k < size:
        part, slope, more = POINT(k, index, scores, known, valid, hyper)
        loss, terms = loss + part, terms + more
        slopes += slope
        k += 1
    loss, slopes = loss / tl.maximum(terms, 1.0), slopes / tl.maximum(terms, 1.0)
    if MEAN:
        slopes = slopes / divisors
    if SFT:
        pull = sft_weight * (size - 1).to(tl.float32) * (size - 1).to(tl.float32)
        loss -= times(pull, tl.sum(tl.where(index == 0, sums, 0.0)))
        slopes -= tl.where(index == 0, pull, 0.0)
    tl.store(losses + here, loss)

    if gradient is not None:
        k = size * 0
        while k < size:
            start, stop = tl.load(offsets + first + k), tl.load(offsets + first + k + 1)
            segment_fill(gradient, tl.sum(tl.where(index == k, slopes, 0.0)), start, stop, 0.0, False, BLOCK)
            k += 1
        begin, end = tl.load(offsets + tl.load(lists)), tl.load(offsets + tl.load(lists + count))
        outside_fill(gradient, here, count, begin, end, tokens, BLOCK)
