"""The skeleton of the pair families: one program per pair, any number of tokens on either side."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._segments import outside_fill, segment_fill, segment_sum


@triton.jit
def pairs(
    logps,
    anchors,
    weights,
    columns,
    offsets,
    lengths,
    losses,
    gradient,
    count,
    tokens,
    log2_discount,
    hyper,
    POINT: tl.constexpr,
    BASE: tl.constexpr,
    MEAN: tl.constexpr,
    DISCOUNTED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Loss of each pair and its gradient in every token, in one launch of `count` programs.

    Args:
        logps: (tokens,) packed log-probs, any float type.
        anchors: tuple of (tokens,) log-probs under other policies, packed alike.
        weights: tuple of float, one per anchor.
        columns: tuple of (count,) numbers per pair for the point.
        offsets: (2 count + 1,) int64 borders: the chosen segments in order, then the rejected ones.
        lengths: (2 count,) divisors of the means, or None for the number of tokens; 0 counts as 1.
        losses: (count,) float32, written.
        gradient: (tokens,) float32, written, or None.
        count: pairs.
        tokens: size of logps.
        log2_discount: log2 of the discount per token.
        hyper: tuple of float, hyper-parameters of the point (the name `params` is taken inside Triton's launcher).
        POINT: (chosen, rejected, columns, params) -> (loss, d loss / d chosen, d loss / d rejected).
        BASE: the point under POINT where that takes one, else None.
        MEAN: whether a score is the mean over the tokens, not the sum.
        DISCOUNTED: whether token t of a segment counts discount^t.
        BLOCK: tokens per step.
    """
    pair = tl.program_id(0).to(tl.int64)
    chosen_start, chosen_stop = tl.load(offsets + pair), tl.load(offsets + pair + 1)
    rejected_start, rejected_stop = tl.load(offsets + count + pair), tl.load(offsets + count + pair + 1)

    chosen = segment_sum(logps, anchors, weights, chosen_start, chosen_stop, log2_discount, DISCOUNTED, BLOCK)
    rejected = segment_sum(logps, anchors, weights, rejected_start, rejected_stop, log2_discount, DISCOUNTED, BLOCK)
    if MEAN:
        chosen_len, rejected_len = chosen_stop - chosen_start, rejected_stop - rejected_start
        if lengths is not None:
            chosen_len, rejected_len = tl.load(lengths + pair), tl.load(lengths + count + pair)
        chosen_len = tl.maximum(chosen_len.to(tl.float32), 1.0)
        rejected_len = tl.maximum(rejected_len.to(tl.float32), 1.0)
        chosen, rejected = chosen / chosen_len, rejected / rejected_len

    numbers = [tl.load(column + pair).to(tl.float32) for column in columns]
    if BASE is None:
        loss, chosen_slope, rejected_slope = POINT(chosen, rejected, numbers, hyper)
    else:
        loss, chosen_slope, rejected_slope = POINT(chosen, rejected, numbers, hyper, BASE)
    tl.store(losses + pair, loss)

    if gradient is not None:
        if MEAN:
            chosen_slope, rejected_slope = chosen_slope / chosen_len, rejected_slope / rejected_len
        segment_fill(gradient, chosen_slope, chosen_start, chosen_stop, log2_discount, DISCOUNTED, BLOCK)
        segment_fill(gradient, rejected_slope, rejected_start, rejected_stop, log2_discount, DISCOUNTED, BLOCK)
        outside_fill(gradient, pair, count, tl.load(offsets), tl.load(offsets + 2 * count), tokens, BLOCK)
