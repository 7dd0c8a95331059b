"""The skeleton of rollouts: one program per completion, of any number of tokens, each with a term of its own."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import exponential, times
from poz.kernels._segments import outside_fill


@triton.jit
def log_ratios(logps, old, token, inside):
    """l, o and l - o of tokens in float32, 0 where none is inside; o is l where there is no old policy."""
    logp = tl.load(logps + token, mask=inside, other=0.0).to(tl.float32)
    if old is None:
        return logp, logp, tl.where(logp == logp, 0.0, logp)
    else:
        before = tl.load(old + token, mask=inside, other=0.0).to(tl.float32)
        return logp, before, logp - before


@triton.jit
def moved(logp, slope):
    """The slope where the old policy is the policy itself: the ratio is 1 whatever l, also an infinite one, which has none."""
    return tl.where(tl.abs(logp) == float("inf"), 0.0, slope)


@triton.jit
def rollouts(
    logps,
    old,
    ref,
    sampler,
    log_weights,
    advantages,
    shares,
    offsets,
    losses,
    gradient,
    count,
    tokens,
    kl_weight,
    low,
    high,
    hyper,
    POINT: tl.constexpr,
    KL: tl.constexpr,
    CORRECTION: tl.constexpr,
    PER_TOKEN: tl.constexpr,
    WEIGHS: tl.constexpr,
    WHOLE: tl.constexpr,
    MEAN: tl.constexpr,
    SPREAD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Loss of each completion and its gradient in every token, in one launch of `count` programs.

    Args:
        logps: (tokens,) packed log-probs of the policy, any float type.
        old: (tokens,) the same of the policy that the update started from, packed alike, or None: exactly on-policy.
        ref: (tokens,) the same of the reference, where there is a `KL`.
        sampler: (tokens,) the same as the sampler had it, where there is a `CORRECTION`.
        log_weights: (tokens,) float32 logs of what corrects a token, where that is not of the token alone, or None.
        advantages: (tokens,) or (count,) numbers.
        shares: (count,) float32, what each token of a completion weighs.
        offsets: (count + 1,) int64 borders of the completions.
        losses: (count,) float32, written.
        gradient: (tokens,) float32, written, or None.
        count: completions.
        tokens: size of logps.
        kl_weight: factor of the KL.
        low: log of the least weight that `CORRECTION` lets through.
        high: log of the greatest.
        hyper: tuple of float, hyper-parameters of the point (the name `params` is taken inside Triton's launcher).
        POINT: (log-prob, old log-prob, log-ratio, log of the weight that corrects, advantage, params) -> (term of the token,
            its slope in the log-prob).
        KL: (x, log-ratio, log π_ref - log π_old) -> (estimate, its slope), x = log π_ref - log π, or None.
        CORRECTION: (log-ratio of the old policy to the sampler, low, high) -> log of the weight, or None.
        PER_TOKEN: whether advantages are of tokens.
        WEIGHS: whether the point has that weight in it; else what it gives is multiplied with it.
        WHOLE: whether the point is given the log-ratio of the completion, the sum over its tokens, in place of the token's.
        MEAN: whether that is their mean.
        SPREAD: whether the slope goes to all tokens of the completion alike, not to the token alone.
        BLOCK: tokens per step.
    """
    here = tl.program_id(0).to(tl.int64)
    start, stop = tl.load(offsets + here), tl.load(offsets + here + 1)
    share = tl.load(shares + here)
    lanes = tl.arange(0, BLOCK)
    whole = 0.0
    if WHOLE:
        sums = tl.zeros((BLOCK,), tl.float32)
        first = start
        while first < stop:
            token = first + lanes
            sums += log_ratios(logps, old, token, token < stop)[2]
            first += BLOCK
        whole = tl.sum(sums)
        if MEAN:
            whole = whole / tl.maximum((stop - start).to(tl.float32), 1.0)

    total, common = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    first = start
    while first < stop:
        token = first + lanes
        inside = token < stop
        logp, before, log_ratio = log_ratios(logps, old, token, inside)
        advantage = tl.load(advantages + (token if PER_TOKEN else here + 0 * lanes), mask=inside, other=0.0)
        judged = whole + 0.0 * lanes if WHOLE else log_ratio
        weight = tl.zeros((BLOCK,), tl.float32)
        if CORRECTION is not None:
            apart = before - tl.load(sampler + token, mask=inside, other=0.0).to(tl.float32)
            weight = CORRECTION(apart, low, high)
        elif log_weights is not None:
            weight = tl.load(log_weights + token, mask=inside, other=0.0)
        value, slope = POINT(logp, before, judged, weight, advantage.to(tl.float32), hyper)
        if not WEIGHS and (CORRECTION is not None or log_weights is not None):
            weight = exponential(weight)[0]
            value, slope = times(weight, value), times(weight, slope)
        if SPREAD:
            common += tl.where(inside, slope, 0.0)
            slope = tl.zeros((BLOCK,), tl.float32)
        elif old is None:
            slope = moved(logp, slope)
        if KL is not None:
            reference = tl.load(ref + token, mask=inside, other=0.0).to(tl.float32)
            estimate, rise = KL(reference - logp, log_ratio, reference - before)
            value, slope = value + kl_weight * estimate, slope + kl_weight * rise
        total += tl.where(inside, value, 0.0)
        if gradient is not None:
            tl.store(gradient + token, share * slope, mask=inside)
        first += BLOCK
    tl.store(losses + here, share * tl.sum(total))

    if gradient is not None:
        if SPREAD:
            each = share * tl.sum(common)
            if MEAN:
                each = each / tl.maximum((stop - start).to(tl.float32), 1.0)
            tl.debug_barrier()  # what other threads have written is read
            first = start
            while first < stop:
                token = first + lanes
                inside = token < stop
                slope = each + tl.zeros((BLOCK,), tl.float32)
                if old is None:
                    slope = moved(log_ratios(logps, old, token, inside)[0], slope)
                tl.store(gradient + token, tl.load(gradient + token, mask=inside, other=0.0) + slope, mask=inside)
                first += BLOCK
        outside_fill(gradient, here, count, tl.load(offsets), tl.load(offsets + count), tokens, BLOCK)
