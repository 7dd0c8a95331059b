"""What every skeleton does with a run of packed tokens: sum it in float32, and fill its gradient."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import times


@triton.jit
def segment_sum(logps, anchors, weights, start, stop, log2_discount, DISCOUNTED: tl.constexpr, BLOCK: tl.constexpr):
    """Σ_t discount^t (logp_t - Σ_m weight_m anchor_m,t) over the tokens start <= . < stop; 0 where there are none."""
    lanes = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    first = start
    while first < stop:
        token = first + lanes
        inside = token < stop
        value = tl.load(logps + token, mask=inside, other=0.0).to(tl.float32)
        for m in tl.static_range(len(anchors)):
            value -= times(weights[m], tl.load(anchors[m] + token, mask=inside, other=0.0).to(tl.float32))
        if DISCOUNTED:
            value *= tl.exp2(log2_discount * (token - start).to(tl.float32))
        total += value
        first += BLOCK
    return tl.sum(total)


@triton.jit
def segment_fill(gradient, slope, start, stop, log2_discount, DISCOUNTED: tl.constexpr, BLOCK: tl.constexpr):
    """Writes slope discount^t to the tokens start <= . < stop."""
    lanes = tl.arange(0, BLOCK)
    first = start
    while first < stop:
        token = first + lanes
        value = slope + tl.zeros((BLOCK,), tl.float32)
        if DISCOUNTED:
            value *= tl.exp2(log2_discount * (token - start).to(tl.float32))
        tl.store(gradient + token, value, mask=token < stop)
        first += BLOCK


@triton.jit
def outside_fill(gradient, here, programs, first, last, tokens, BLOCK: tl.constexpr):
    """Writes 0 before the first segment and behind the last one, so that no element stays unwritten."""
    if here == 0:
        segment_fill(gradient, 0.0, first * 0, first, 0.0, False, BLOCK)
    if here == programs - 1:
        segment_fill(gradient, 0.0, last, tokens, 0.0, False, BLOCK)
