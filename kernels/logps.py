"""Token log-probabilities: one pass over float32 logits, and a matrix product that never stores them."""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Compiled(NamedTuple):
    """One specialisation to compile ahead of time: types of its arguments, values of its constants, launch options."""

    name: str
    kernel: Any
    signature: dict[str, Any]
    options: dict[str, int]
    aligned: tuple[str, ...] = ()
    archs: tuple[str, ...] = ("sm_80", "sm_90", "sm_100", "gfx942")


@triton.jit
def _transformed(x, inner, outer, CAPPED: tl.constexpr):
    """Logit of a product: `outer * tanh(inner * x)` under a cap, else `inner * x`."""
    x = x * inner
    if CAPPED:
        # tanh from exp of a number <= 0, so that it cannot overflow; near 0, where 1 - e would cancel, its series, good to 2e-10.
        e = tl.exp(-2.0 * tl.abs(x))
        s = x * x
        near = tl.abs(x) * (1.0 - s * (1.0 / 3.0 - s * (2.0 / 15.0 - s * (17.0 / 315.0))))
        size = tl.where(s < 0.01, near, (1.0 - e) / (1.0 + e))
        x = tl.where(x < 0, -size, size) * outer
    return x


@triton.jit
def _masked(z, b):
    """A bias of -inf takes a token out, whatever the cap and the scale."""
    return tl.where(b == float("-inf"), float("-inf"), z)


@triton.jit
def _bend(z, bend, CAPPED: tl.constexpr):
    """d logit / d (inner * product): `1 - tanh^2`, 0 where masked; 1 without a cap."""
    if CAPPED:
        t = tl.maximum(z * bend, -1.0)
        return 1.0 - t * t
    else:
        return 1.0


@triton.jit
def logps_pass(
    logits, logits_stride, bias, targets, others, target_logits, totals, energies, log_squares, logit_sums, best,
    best_index, vocabulary, inner, outer, CAPPED: tl.constexpr, ENTROPY: tl.constexpr, SQUARES: tl.constexpr,
    MEAN: tl.constexpr, TOP1: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Statistics of one row of logits per program.

    Every lane keeps its own running maximum and sums; they are joined once, after the last block. The target's own term is
    held apart, so that a confident token's log-prob and gradient keep their relative precision. Nothing is written to the
    logits here: a compiler lays its lanes out to suit what is stored, and the sums would have other bits.

    Args:
        logits: (rows, vocabulary) float32 products, not yet scaled.
        logits_stride: elements between rows.
        bias: (vocabulary,) or None.
        targets: (rows,) int64; outside [0, vocabulary) means that the row has no target here.
        others: (rows,) float32, log-sum-exp without the target.
        target_logits: (rows,) float32, NaN without a target.
        totals: (rows,) float32, log-sum-exp of all.
        energies: (rows,) float32, sum of p * logit.
        log_squares: (rows,) float32, log of the sum of exp(2 * logit).
        logit_sums: (rows,) sum of the logits.
        best: (rows,) largest logit.
        best_index: (rows,) int64, the first token that has it.
        vocabulary: columns.
        inner: factor inside the cap.
        outer: factor outside it.
        CAPPED: whether there is a cap.
        ENTROPY: whether to write energies.
        SQUARES: whether to write log_squares.
        MEAN: whether to write logit_sums.
        TOP1: whether to write best and best_index.
        BLOCK: columns per step.
    """
    row = tl.program_id(0).to(tl.int64)
    logits += row * logits_stride
    target = tl.load(targets + row)
    here = (target >= 0) & (target < vocabulary)
    lanes = tl.arange(0, BLOCK)
    top = tl.full((BLOCK,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    energy = tl.zeros((BLOCK,), tl.float32)
    square = tl.zeros((BLOCK,), tl.float32)
    plain = tl.zeros((BLOCK,), tl.float32)
    first = tl.full((BLOCK,), 2147483647, tl.int32)
    for start in range(0, vocabulary, BLOCK):
        column = start + lanes
        inside = column < vocabulary
        x = tl.load(logits + column, mask=inside, other=0.0).to(tl.float32)
        if bias is not None:
            b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
            z = _masked(_transformed(x + b, inner, outer, CAPPED), b)
        else:
            z = _transformed(x, inner, outer, CAPPED)
        z = tl.where(inside, z, float("-inf"))
        if MEAN:
            plain += tl.where(inside, z, 0.0)
        if TOP1:
            first = tl.where(z > top, column, first)
        z_other = tl.where(column == target, float("-inf"), z)
        grown = tl.maximum(top, z)
        # NaN must reach the sums; a lane that has seen nothing but -inf must not make one.
        finite = tl.where(grown == float("-inf"), 0.0, grown)
        shrink = tl.exp(top - finite)
        e = tl.exp(z_other - finite)
        total = total * shrink + e
        if ENTROPY:
            energy = energy * shrink + tl.where(e > 0, e * z_other, 0.0)
        if SQUARES:
            square = square * shrink * shrink + e * e
        top = grown
    peak = tl.max(top, axis=0)
    floor = tl.where(peak == float("-inf"), 0.0, peak)
    shrink = tl.exp(top - floor)
    rest = tl.sum(total * shrink, axis=0)
    x_target = tl.load(logits + target, mask=here, other=0.0).to(tl.float32)
    if bias is not None:
        b_target = tl.load(bias + target, mask=here, other=0.0).to(tl.float32)
        z_target = _masked(_transformed(x_target + b_target, inner, outer, CAPPED), b_target)
    else:
        z_target = _transformed(x_target, inner, outer, CAPPED)
    own = tl.where(here, tl.exp(z_target - floor), 0.0)
    lse_others = floor + tl.log(rest)
    lse = floor + tl.log(rest + own)
    tl.store(others + row, lse_others)
    tl.store(totals + row, lse)
    tl.store(target_logits + row, tl.where(here, z_target, float("nan")))
    if ENTROPY:
        weighted = tl.sum(energy * shrink, axis=0) + tl.where(own > 0, own * z_target, 0.0)
        tl.store(energies + row, weighted / (rest + own))
    if SQUARES:
        tl.store(log_squares + row, 2.0 * floor + tl.log(tl.sum(square * shrink * shrink, axis=0) + own * own))
    if MEAN:
        tl.store(logit_sums + row, tl.sum(plain, axis=0))
    if TOP1:
        tl.store(best + row, peak)
        tl.store(best_index + row, tl.min(tl.where(top == peak, first, 2147483647), axis=0).to(tl.int64))


@triton.jit
def logits_gradient(
    logits, logits_stride, bias, targets, gradient, gradient_stride, lse, level, tilt, at_target,
    vocabulary, inner, outer, bend, CAPPED: tl.constexpr, TILTED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Turn one block of a row's logits into their gradient: `p * (level + tilt * z)`, and `at_target` at the target.

    Args:
        logits: (rows, vocabulary) float32 products, not yet scaled.
        logits_stride: elements between rows.
        bias: (vocabulary,) or None.
        targets: (rows,) int64.
        gradient: (rows, vocabulary) written; may be `logits`.
        gradient_stride: elements between its rows.
        lse: (rows,) float32, log-sum-exp over all shards.
        level: (rows,) float32.
        tilt: (rows,) float32 where TILTED.
        at_target: (rows,) float32.
        vocabulary: columns.
        inner: factor inside the cap.
        outer: factor outside it.
        bend: what turns a logit back into the tanh.
        CAPPED: whether there is a cap.
        TILTED: whether there is a tilt.
        BLOCK: columns per program; rows are on the first grid axis, which alone may exceed 65535.
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < vocabulary
    x = tl.load(logits + row * logits_stride + column, mask=inside, other=0.0).to(tl.float32)
    if bias is not None:
        b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
        z = _masked(_transformed(x + b, inner, outer, CAPPED), b)
    else:
        z = _transformed(x, inner, outer, CAPPED)
    p = tl.exp(z - tl.load(lse + row))
    slope = tl.load(level + row)
    if TILTED:
        slope = slope + tl.load(tilt + row) * tl.maximum(z, -1e30)
    # A coefficient of 0 is worth nothing, whatever it multiplies.
    g = tl.where(slope == 0.0, 0.0, p * slope * _bend(z, bend, CAPPED))
    g = tl.where(column == tl.load(targets + row), tl.load(at_target + row), g)
    tl.store(gradient + row * gradient_stride + column, g.to(gradient.dtype.element_ty), mask=inside)


@triton.jit
def fused_forward(
    hidden, hidden_stride, weight, weight_stride, bias, targets, maxima, sums, target_logits, rows, vocabulary, width,
    inner, outer, CAPPED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
    SPLIT: tl.constexpr, AS_FLOAT32: tl.constexpr,
):  # fmt: skip
    """Running maximum and sum of exp, without the target, of `hidden @ weight.T` over SPLIT columns; no logits are stored.

    Args:
        hidden: (rows, width), contiguous along width.
        hidden_stride: elements between its rows.
        weight: (vocabulary, width), contiguous along width.
        weight_stride: elements between its rows.
        bias: (vocabulary,) or None.
        targets: (rows,) int64.
        maxima: (splits, rows) float32, written.
        sums: (splits, rows) float32, written.
        target_logits: (rows,) float32, written by the program that meets the target.
        rows: number of rows.
        vocabulary: tokens.
        width: hidden size.
        inner: factor inside the cap.
        outer: factor outside it.
        CAPPED: whether there is a cap.
        ROWS: rows of a tile.
        COLUMNS: columns of a tile.
        DEPTH: hidden sizes per step.
        SPLIT: columns per program, a multiple of COLUMNS.
        AS_FLOAT32: convert tiles before multiplying, which the interpreter needs for bfloat16.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    split = tl.program_id(1).to(tl.int64)
    real = row < rows
    target = tl.load(targets + row, mask=real, other=-1)
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    depth = tl.arange(0, DEPTH)
    for start in range(0, SPLIT, COLUMNS):
        column = split * SPLIT + start + tl.arange(0, COLUMNS)
        inside = column < vocabulary
        product = tl.zeros((ROWS, COLUMNS), tl.float32)
        for k in range(0, width, DEPTH):
            within = k + depth < width
            a = tl.load(
                hidden + row[:, None] * hidden_stride + (k + depth)[None, :],
                mask=real[:, None] & within[None, :],
                other=0.0,
            )
            b = tl.load(
                weight + column[None, :] * weight_stride + (k + depth)[:, None],
                mask=inside[None, :] & within[:, None], other=0.0,
            )  # fmt: skip
            if AS_FLOAT32:
                a = a.to(tl.float32)
                b = b.to(tl.float32)
            product = tl.dot(a, b, product, input_precision="ieee")
        if bias is not None:
            b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
            z = _masked(_transformed(product + b, inner, outer, CAPPED), b)
        else:
            z = _transformed(product, inner, outer, CAPPED)
        z = tl.where(inside[None, :], z, float("-inf"))
        hit = column[None, :] == target[:, None]
        met = tl.sum(hit.to(tl.int32), axis=1) > 0
        tl.store(target_logits + row, tl.sum(tl.where(hit, z, 0.0), axis=1), mask=real & met)
        z = tl.where(hit, float("-inf"), z)
        grown = tl.maximum(top, tl.max(z, axis=1))
        finite = tl.where(grown == float("-inf"), 0.0, grown)
        total = total * tl.exp(top - finite) + tl.sum(tl.exp(z - finite[:, None]), axis=1)
        top = grown
    tl.store(maxima + split * rows + row, top, mask=real)
    tl.store(sums + split * rows + row, total, mask=real)


PASS_BLOCK = 4096
PASS_WARPS = 8
GRADIENT_BLOCK = 4096
# Rows, columns and hidden sizes that `fused_forward` multiplies at a time, by bytes per factor.
FUSED_TILES = {2: (128, 64, 64), 4: (64, 64, 32)}
FUSED_SPLIT = 2048
FUSED_OPTIONS = {"num_warps": 8, "num_stages": 3}


def _pointers(names: str, kind: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


def _case(name: str, kernel: Any, types: dict[str, Any], warps: int, **options: int) -> Compiled:
    aligned = tuple(
        name for name, kind in types.items() if isinstance(kind, str) and (kind[0] == "*" or "stride" in name)
    )
    signature = {name: types[name] for name in kernel.arg_names}
    return Compiled(name, kernel, signature, {"num_warps": warps, **options}, aligned)


def _cases() -> list[Compiled]:
    floats = _pointers("others target_logits totals energies log_squares logit_sums best", "*fp32")
    scalars = {"vocabulary": "i32", **_pointers("inner outer bend", "fp32")}
    cases = []
    for extras in (False, True):
        signature = {
            "logits": "*fp32", "logits_stride": "i64", "targets": "*i64", **floats, "best_index": "*i64", **scalars,
        }  # fmt: skip
        constants = {
            "bias": None, "CAPPED": extras, "ENTROPY": extras, "SQUARES": extras, "MEAN": extras, "TOP1": extras,
            "BLOCK": PASS_BLOCK,
        }  # fmt: skip
        cases.append(_case(f"logps_pass extras {extras}", logps_pass, signature | constants, PASS_WARPS))
    for tilted in (False, True):
        signature = {
            "logits": "*fp32", "logits_stride": "i64", "targets": "*i64", "gradient": "*bf16", "gradient_stride": "i64",
            **_pointers("lse level tilt at_target", "*fp32"), **scalars,
        }  # fmt: skip
        constants = {"bias": None, "CAPPED": tilted, "TILTED": tilted, "BLOCK": GRADIENT_BLOCK}
        cases.append(_case(f"logits_gradient tilted {tilted}", logits_gradient, signature | constants, PASS_WARPS))
    signature = {
        "hidden": "*bf16", "hidden_stride": "i64", "weight": "*bf16", "weight_stride": "i64", "targets": "*i64",
        **_pointers("maxima sums target_logits", "*fp32"), **_pointers("rows vocabulary width", "i32"),
        **_pointers("inner outer", "fp32"),
    }  # fmt: skip
    constants = {
        "bias": None, "CAPPED": False, **dict(zip(("ROWS", "COLUMNS", "DEPTH"), FUSED_TILES[2], strict=True)),
        "SPLIT": FUSED_SPLIT, "AS_FLOAT32": False,
    }  # fmt: skip
    cases.append(
        _case(
            "fused_forward",
            fused_forward,
            signature | constants,
            FUSED_OPTIONS["num_warps"],
            num_stages=FUSED_OPTIONS["num_stages"],
        )
    )
    return cases


AHEAD_OF_TIME = tuple(_cases())
"""Every specialisation to compile and hold against the table of resources."""
