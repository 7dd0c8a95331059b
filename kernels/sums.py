"""Sums over packed segments, for objectives without a point function: one program per segment."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._segments import outside_fill, segment_fill, segment_sum


@triton.jit
def segment_sums(logps, offsets, sums, count, BLOCK: tl.constexpr):
    """Writes the float32 sum of each of `count` segments of (tokens,) log-probs between (count + 1,) int64 borders."""
    segment = tl.program_id(0).to(tl.int64)
    start, stop = tl.load(offsets + segment), tl.load(offsets + segment + 1)
    tl.store(sums + segment, segment_sum(logps, (), (), start, stop, 0.0, False, BLOCK))


@triton.jit
def segment_slopes(slopes, offsets, gradient, count, tokens, BLOCK: tl.constexpr):
    """Writes the slope of its segment to every token of the (tokens,) float32 gradient, 0 to those of no segment."""
    segment = tl.program_id(0).to(tl.int64)
    start, stop = tl.load(offsets + segment), tl.load(offsets + segment + 1)
    segment_fill(gradient, tl.load(slopes + segment), start, stop, 0.0, False, BLOCK)
    outside_fill(gradient, segment, count, tl.load(offsets), tl.load(offsets + count), tokens, BLOCK)


@triton.jit
def segment_running(values, offsets, running, count, BACKWARD: tl.constexpr, BLOCK: tl.constexpr):
    """Writes to each token the float32 sum of its segment up to it, or, BACKWARD, from it on."""
    segment = tl.program_id(0).to(tl.int64)
    start, stop = tl.load(offsets + segment), tl.load(offsets + segment + 1)
    lanes = tl.arange(0, BLOCK)
    before = 0.0
    first = start
    while first < stop:
        place = first + lanes
        inside = place < stop
        token = start + (stop - 1 - place) if BACKWARD else place
        value = tl.load(values + token, mask=inside, other=0.0).to(tl.float32)
        tl.store(running + token, before + tl.cumsum(value, 0), mask=inside)
        before += tl.sum(value)
        first += BLOCK
