"""Log-probabilities on a GPU: matrix products, and one Triton pass over each; gradients tile by tile.

Forward: chunks of rows over the whole vocabulary. Backward: tiles, from the residuals kept or from logits made again.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor

from poz.kernels import logps as kernels
from poz.kernels.launch import FIXED, on_device_of
from poz.torch.head.backward import Gradients, bend_at, row_gradients
from poz.torch.head.tiles import ROW_QUANTUM, Head, Partials, Rows, Slab, Weights, compute_dtype, padded
from poz.torch.head.vocab_parallel import ENTROPY, LOGP, LSE, TARGET_LOGIT, Statistics, join, remember, stacked


def triton_workspace(rows: int, hidden_size: int, weight: Tensor, block_rows: int) -> int:
    """The bytes of one pass: slabs of logits in float32 and in the head's dtype, a block of hidden states, statistics.

    A backward pass shares them out in another way, see `backward_shape`.
    """
    return _slabs(rows, hidden_size, weight, block_rows) + padded(rows) * 8 * 34


def _slabs(rows: int, hidden_size: int, weight: Tensor, block_rows: int) -> int:
    block = min(block_rows, padded(rows))
    return block * (weight.shape[0] * (4 + weight.element_size()) + 12 * hidden_size) + 4 * ROW_QUANTUM * hidden_size


def backward_shape(rows: int, hidden_size: int, weight: Tensor, block_rows: int) -> tuple[int, int]:
    """The rows and the columns of the vocabulary that a backward pass multiplies at a time.

    Each tile of logits adds to a float32 gradient of as many rows of hidden states and of as many rows of the head, so
    the nearer it is to a square the less is read and written; a whole gradient of the head in float32 never exists.
    """
    rows = max(rows, 1)
    size, room = weight.shape[0], _slabs(rows, hidden_size, weight, block_rows)

    def columns(height: int) -> int:
        return (room - 12 * height * hidden_size) // (height * (4 + weight.element_size()) + 4 * hidden_size)

    height = min(padded(rows), padded(math.isqrt(block_rows * size)))
    while height > ROW_QUANTUM and columns(height) < min(size, height):
        height -= ROW_QUANTUM
    height = padded(_even(rows, height))
    widest = max(ROW_QUANTUM, columns(height) // ROW_QUANTUM * ROW_QUANTUM)
    return height, min(size, padded(_even(size, widest)))


def _even(size: int, most: int) -> int:
    return -(-size // -(-size // most))


def product_into(out: Tensor, left: Tensor, right: Tensor, add: bool = False) -> None:
    """Sets or adds `left @ right` to a float32 `out`, accumulated in float32 whatever the factors."""
    if left.dtype == out.dtype:
        torch.addmm(out, left, right, beta=float(add), out=out)
    elif left.device.type == "cuda":
        torch.addmm(out, left, right, out_dtype=out.dtype, beta=float(add), out=out)
    else:
        torch.addmm(out, left.to(out.dtype), right.to(out.dtype), beta=float(add), out=out)


def scaling(head: Head) -> tuple[float, float, float, bool]:
    """The kernels' factors before, after and inside the cap, and whether there is one."""
    if head.softcap is None:
        return head.slope, 1.0, 0.0, False
    return head.logit_scale / head.softcap, head.softcap / head.temperature, head.bend, True


def _logits(slab: Tensor, hidden: Tensor, weight: Tensor, fast: bool) -> None:
    if fast and hidden.dtype != slab.dtype:
        slab.copy_(torch.mm(hidden, weight.t()))
    else:
        product_into(slab, hidden, weight.t())


def pass_over(logits: Tensor, bias: Tensor | None, targets: Tensor, head: Head, wanted: frozenset[str]) -> Partials:
    """Launch `logps_pass`: statistics of (rows, vocabulary) float32 logits."""
    rows, vocabulary = logits.shape

    def column(asked: bool = True) -> Tensor:
        return torch.empty(rows if asked else 1, dtype=torch.float32, device=logits.device)

    entropy, squares = "entropy" in wanted, "log_sum_sq_probs" in wanted
    mean, top1 = "mean_logit" in wanted, "top1" in wanted
    others, target_logits, totals = column(), column(), column()
    energies, log_squares, sums, best = column(entropy), column(squares), column(mean), column(top1)
    best_index = torch.empty(rows if top1 else 1, dtype=torch.int64, device=logits.device)
    inner, outer, _, capped = scaling(head)
    with on_device_of(logits):
        kernels.logps_pass[(rows,)](
            logits,
            logits.stride(0),
            bias,
            targets,
            others,
            target_logits,
            totals,
            energies,
            log_squares,
            sums,
            best,
            best_index,
            vocabulary,
            inner,
            outer,
            CAPPED=capped,
            ENTROPY=entropy,
            SQUARES=squares,
            MEAN=mean,
            TOP1=top1,
            BLOCK=min(kernels.PASS_BLOCK, triton.next_power_of_2(vocabulary)),
            num_warps=kernels.PASS_WARPS,
            **FIXED,
        )
    owned = (targets >= 0) & (targets < vocabulary)
    return Partials(
        others.double(),
        target_logits.double(),
        owned,
        totals.double(),
        energies.double() if entropy else None,
        log_squares.double() if squares else None,
        sums.double() if mean else None,
        best.double() if top1 else None,
        best_index if top1 else None,
    )


def gradient_over(
    logits: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    head: Head,
    lse: Tensor,
    level: Tensor,
    tilt: Tensor | None,
    at_target: Tensor,
    out: Tensor,
) -> None:
    """Launch `logits_gradient` on (rows, vocabulary) logits; coefficients are float64 (rows,)."""
    rows, vocabulary = logits.shape
    inner, outer, bend, capped = scaling(head)
    block = min(kernels.GRADIENT_BLOCK, triton.next_power_of_2(vocabulary))
    coefficients = [value.float().contiguous() for value in (lse, level, level if tilt is None else tilt, at_target)]
    # Where a GPU rounds to bfloat16, the interpreter cuts the bits off.
    cut_off = out.dtype == torch.bfloat16 and out.device.type == "cpu"
    made = torch.empty(out.shape, dtype=torch.float32) if cut_off else out
    with on_device_of(logits):
        kernels.logits_gradient[(rows, triton.cdiv(vocabulary, block))](
            logits,
            logits.stride(0),
            bias,
            targets,
            made,
            made.stride(0),
            *coefficients,
            vocabulary,
            inner,
            outer,
            bend,
            CAPPED=capped,
            TILTED=tilt is not None,
            BLOCK=block,
            num_warps=kernels.PASS_WARPS,
            **FIXED,
        )
    if cut_off:
        out.copy_(made)


def forward_rows(
    rows: Rows,
    weights: Weights,
    local: Tensor,
    head: Head,
    wanted: frozenset[str],
    mode: str,
    kept: Tensor,
    tile_lse: Tensor,
    group: Any,
    vocabulary: int,
    first: int,
    stats: Tensor,
) -> Statistics:
    """Runs over row chunks; keeps `softmax - onehot` (mode "keep") or d log p / d hidden (mode "one pass")."""
    weight, bias, device = weights.weight, weights.bias, rows.hidden.device
    size = weight.shape[0]
    slab = Slab(min(rows.block_rows, padded(rows.count)), size, torch.float32, device)
    small = Slab(min(rows.block_rows, padded(rows.count)), size, rows.dtype, device) if mode == "one pass" else None
    parts: list[Statistics] = []
    for low, high in rows.blocks():
        hidden = rows.block(low, high)
        count = hidden.shape[0]
        here = slice(low, low + count)
        logits = slab.view(count, size)
        _logits(logits, hidden, weight, head.fast)
        residual = None
        if mode == "keep":
            residual = kept[low * size : (low + count) * size].view(count, size)
        elif small is not None:
            residual = small.view(count, size)
        part = pass_over(logits, bias, local[here], head, wanted)
        joined = join(part, group, vocabulary, first)
        if residual is not None:
            one = torch.ones_like(joined.lse)
            at_target = torch.expm1(joined.logp) * bend_at(joined.target_logit, head)
            at_target = at_target.where(part.owned, 0 * one)
            if mode == "keep":  # a row that turns out to have no coefficient must not turn 0 * NaN into a gradient
                unknown = joined.logp.isnan()
                one, at_target = one.masked_fill(unknown, 0.0), at_target.masked_fill(unknown, 0.0)
            gradient_over(logits, bias, local[here], head, joined.lse, one, None, at_target, residual)
        if mode == "one pass" and residual is not None:
            product_into(kept[here], residual, weight)
            kept[here].mul_(-head.slope)
        if mode != "forward":
            remember(stats[:, here], joined, part.total)
        parts.append(joined)
    return stacked(parts, local)


def backward_rows(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    index: Tensor | None,
    local: Tensor,
    count: int,
    head: Head,
    upstream: list[Tensor | None],
    stats: Tensor,
    tile_lse: Tensor,
    kept: Tensor | None,
    block_rows: int,
    into: Gradients,
    add: bool = False,
) -> Tensor:
    """Fills the gradients from `softmax - onehot`, or from logits made again; rows whose coefficients are 0 are left out."""
    size, dtype = weight.shape[0], compute_dtype(hidden)
    use_kept = kept is not None and upstream[1] is None and upstream[2] is None and upstream[0] is not None
    positions = None
    if not use_kept:
        active = torch.zeros(count, dtype=torch.bool, device=hidden.device)
        for gradient in upstream:
            if gradient is not None:
                active |= gradient != 0
        positions = active.nonzero().squeeze(1)
        index = positions if index is None else index[positions]
    lead = padded(count if positions is None else positions.shape[0])
    height, width = backward_shape(lead, hidden.shape[1], weight, block_rows)
    rows = Rows(hidden, index, height, hidden.dtype)

    def at(values: Tensor, fill: float = 0.0) -> Tensor:
        chosen = values[..., :count] if positions is None else values[..., positions]
        return torch.nn.functional.pad(chosen, (0, lead - rows.count), value=fill)

    targets, numbers = at(local, -1), at(stats)
    by_row = row_gradients(
        head,
        numbers[LOGP],
        numbers[LSE],
        numbers[TARGET_LOGIT],
        numbers[ENTROPY],
        (targets >= 0) & (targets < size),
        *(None if gradient is None else at(gradient) for gradient in upstream),
    )
    level = None
    if use_kept:
        unknown = (by_row.level != 0) & numbers[LOGP].isnan()
        level = by_row.level.masked_fill(unknown, math.nan)[: rows.count].to(dtype).unsqueeze(1)
    logits_slab = None if use_kept else Slab(min(height, lead), width, torch.float32, hidden.device)
    small = None if use_kept else Slab(min(height, lead), width, hidden.dtype, hidden.device)
    grad_rows = hidden.new_zeros((rows.count if into.hidden is not None else 0, hidden.shape[1]), dtype=dtype)
    sums = None
    if into.weight is not None and into.weight.dtype != dtype:
        sums = torch.empty((width, hidden.shape[1]), dtype=dtype, device=hidden.device)
    bias_sums = None if into.bias is None else torch.zeros(into.bias.shape, dtype=dtype, device=hidden.device)
    for start in range(0, size, width):
        stop = min(start + width, size)
        columns, tile_bias = weight[start:stop], None if bias is None else bias[start:stop]
        own = None if into.weight is None else into.weight[start:stop]
        total = own if sums is None else sums[: stop - start]
        if total is not None and not add and not rows.count:
            total.zero_()
        for low, high in rows.blocks():
            block = rows.block(low, high)
            here = slice(low, low + block.shape[0])
            factors = block[: high - low]
            if use_kept:
                assert kept is not None
                assert level is not None
                tile = kept[: count * size].view(count, size)[low:high, start:stop]
                by = level[low:high]
                factors = (factors * by).masked_fill_(by == 0, 0.0).to(hidden.dtype)
            else:
                assert logits_slab is not None
                assert small is not None
                logits = logits_slab.view(block.shape[0], stop - start)
                _logits(logits, block, columns, head.fast)
                tile = small.view(block.shape[0], stop - start)
                tilt = None if by_row.tilt is None else by_row.tilt[here]
                gradient_over(
                    logits,
                    tile_bias,
                    targets[here] - start,
                    head,
                    numbers[LSE][here],
                    by_row.level[here],
                    tilt,
                    by_row.target[here],
                    tile,
                )
                tile = tile[: high - low]
            if into.hidden is not None:
                product_into(grad_rows[low:high], tile, columns, add=True)
            if total is not None:
                product_into(total, tile.t(), factors, add=add or low > 0)
            if bias_sums is not None:
                by = torch.ones_like(by_row.level[low:high]).unsqueeze(1) if level is None else level[low:high]
                product_into(bias_sums[start:stop].unsqueeze(0), by.t().to(tile.dtype), tile, add=True)
        if own is not None and total is not None and sums is not None:
            own.copy_(total)
    if into.bias is not None and bias_sums is not None:
        into.bias.add_(bias_sums) if add else into.bias.copy_(bias_sums)
    if into.hidden is None:
        return hidden.new_empty(0, dtype=dtype)
    if level is not None:
        grad_rows.mul_(level)
    if positions is None or rows.count == count:
        return grad_rows
    return hidden.new_zeros((count, hidden.shape[1]), dtype=dtype).index_copy_(0, positions, grad_rows)
