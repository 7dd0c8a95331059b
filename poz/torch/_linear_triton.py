"""Log-probabilities on a GPU: matrix products of row chunks over the whole vocabulary, and one Triton pass over each."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from poz.kernels import logps as kernels
from poz.torch._linear_backward import Gradients, row_gradients
from poz.torch._linear_tiles import Head, Partials, Rows, Slab, Weights, compute_dtype, padded
from poz.torch._vocab_parallel import Statistics, join

LOGP, LSE, TARGET_LOGIT, ENTROPY, TOTAL = range(5)


def triton_workspace(rows: int, hidden_size: int, weight: Tensor, block_rows: int) -> int:
    """Return the bytes of one pass: a float32 and a 16-bit slab over the vocabulary, a block of hidden states, statistics."""
    block = min(block_rows, padded(rows))
    return block * (weight.shape[0] * (4 + weight.element_size()) + 12 * hidden_size) + padded(rows) * 8 * 34


def product_into(out: Tensor, left: Tensor, right: Tensor, add: bool = False) -> None:
    """Set or add `left @ right` to a float32 `out`, accumulated in float32 whatever the factors."""
    if left.dtype == out.dtype:
        torch.addmm(out, left, right, beta=float(add), out=out)
    elif left.device.type == "cuda":
        torch.addmm(out, left, right, out_dtype=out.dtype, beta=float(add), out=out)
    else:
        torch.addmm(out, left.to(out.dtype), right.to(out.dtype), beta=float(add), out=out)


def _scaling(head: Head) -> tuple[float, float, float, bool]:
    if head.softcap is None:
        return head.slope, 1.0, 0.0, False
    return head.logit_scale / head.softcap, head.softcap / head.temperature, head.bend, True


def _logits(slab: Tensor, hidden: Tensor, weight: Tensor, fast: bool) -> None:
    if fast and hidden.dtype != slab.dtype:
        slab.copy_(torch.mm(hidden, weight.t()))
    else:
        product_into(slab, hidden, weight.t())


def pass_over(
    logits: Tensor, bias: Tensor | None, targets: Tensor, head: Head, wanted: frozenset[str], residual: Tensor | None
) -> Partials:
    """Launch `logps_pass`: statistics of (rows, vocabulary) float32 logits, and softmax - onehot into `residual`."""
    rows, vocabulary = logits.shape

    def column(asked: bool = True) -> Tensor:
        return torch.empty(rows if asked else 1, dtype=torch.float32, device=logits.device)

    entropy, squares = "entropy" in wanted, "log_sum_sq_probs" in wanted
    mean, top1 = "mean_logit" in wanted, "top1" in wanted
    others, target_logits, totals = column(), column(), column()
    energies, log_squares, sums, best = column(entropy), column(squares), column(mean), column(top1)
    best_index = torch.empty(rows if top1 else 1, dtype=torch.int64, device=logits.device)
    inner, outer, bend, capped = _scaling(head)
    into = logits if residual is None else residual
    kernels.logps_pass[(rows,)](
        logits, logits.stride(0), bias, targets, into, into.stride(0), others, target_logits, totals, energies, log_squares,
        sums, best, best_index, vocabulary, inner, outer, bend, CAPPED=capped, ENTROPY=entropy, SQUARES=squares, MEAN=mean,
        TOP1=top1, RESIDUAL=residual is not None, BLOCK=min(kernels.PASS_BLOCK, triton.next_power_of_2(vocabulary)),
        num_warps=kernels.PASS_WARPS,
    )  # fmt: skip
    owned = (targets >= 0) & (targets < vocabulary)
    return Partials(
        others.double(), target_logits.double(), owned, totals.double(), energies.double() if entropy else None,
        log_squares.double() if squares else None, sums.double() if mean else None, best.double() if top1 else None,
        best_index if top1 else None,
    )  # fmt: skip


def gradient_over(
    logits: Tensor, bias: Tensor | None, targets: Tensor, head: Head, lse: Tensor, level: Tensor, tilt: Tensor | None,
    at_target: Tensor, out: Tensor,
) -> None:  # fmt: skip
    """Launch `logits_gradient` on (rows, vocabulary) logits; coefficients are float64 (rows,)."""
    rows, vocabulary = logits.shape
    inner, outer, bend, capped = _scaling(head)
    block = min(kernels.GRADIENT_BLOCK, triton.next_power_of_2(vocabulary))
    coefficients = [value.float().contiguous() for value in (lse, level, level if tilt is None else tilt, at_target)]
    kernels.logits_gradient[(rows, triton.cdiv(vocabulary, block))](
        logits, logits.stride(0), bias, targets, out, out.stride(0), *coefficients, vocabulary, inner, outer, bend,
        CAPPED=capped, TILTED=tilt is not None, BLOCK=block, num_warps=kernels.PASS_WARPS,
    )  # fmt: skip


def forward_rows(
    rows: Rows, weights: Weights, local: Tensor, head: Head, wanted: frozenset[str], mode: str, kept: Tensor,
    tile_lse: Tensor, group: Any, vocabulary: int, first: int, stats: Tensor,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Run over row chunks; keep `softmax - onehot` (mode "keep") or d log p / d hidden (mode "one pass")."""
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
        part = pass_over(logits, bias, local[here], head, wanted, residual if group is None else None)
        joined = join(part, group, vocabulary, first)
        if residual is not None and group is not None:
            one = torch.ones_like(joined.lse)
            at_target = (torch.expm1(joined.logp) * (1 - (joined.target_logit * head.bend) ** 2)).where(
                part.owned, 0 * one
            )
            gradient_over(logits, bias, local[here], head, joined.lse, one, None, at_target, residual)
        if mode == "one pass" and residual is not None:
            product_into(kept[here], residual, weight)
            kept[here].mul_(-head.slope)
        if mode != "forward":
            for number, values in ((LOGP, joined.logp), (LSE, joined.lse), (TARGET_LOGIT, joined.target_logit),
                                   (ENTROPY, joined.entropy), (TOTAL, part.total)):  # fmt: skip
                if values is not None:
                    stats[number, here] = values
        parts.append(joined)
    if not parts:
        return (local.new_empty(0, dtype=torch.float64),) * 6
    columns = [None if values[0] is None else torch.cat(values) for values in zip(*parts, strict=True)]
    return (*columns[:2], *columns[3:])


def backward_rows(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor | None, local: Tensor, count: int, head: Head,
    upstream: list[Tensor | None], stats: Tensor, tile_lse: Tensor, kept: Tensor | None, block_rows: int, into: Gradients,
    add: bool = False,
) -> Tensor:  # fmt: skip
    """Fill the gradients from `softmax - onehot`, or from logits made again; rows whose coefficients are 0 are left out."""
    size, dtype = weight.shape[0], compute_dtype(hidden)
    grad_rows = hidden.new_zeros((count, hidden.shape[1]) if into.hidden is not None else (0,), dtype=dtype)
    sums = _sums(into.weight, add)
    bias_sums = _sums(into.bias, add)
    positions = None
    use_kept = kept is not None and upstream[1] is None and upstream[2] is None and upstream[0] is not None
    if not use_kept:
        active = torch.zeros(count, dtype=torch.bool, device=hidden.device)
        for gradient in upstream:
            if gradient is not None:
                active |= gradient != 0
        positions = active.nonzero().squeeze(1)
        index = positions if index is None else index[positions]
    rows = Rows(hidden, index, block_rows, hidden.dtype)
    chosen = positions if positions is not None else torch.arange(count, device=hidden.device)
    lead = padded(rows.count)

    def at(values: Tensor, fill: float = 0.0) -> Tensor:
        return torch.nn.functional.pad(values[..., chosen], (0, lead - rows.count), value=fill)

    targets, numbers = at(local, -1), at(stats)
    by_row = row_gradients(
        head, numbers[LOGP], numbers[LSE], numbers[TARGET_LOGIT], numbers[ENTROPY], (targets >= 0) & (targets < size),
        *(None if gradient is None else at(gradient) for gradient in upstream),
    )  # fmt: skip
    logits_slab = (
        None if use_kept or not rows.count else Slab(min(block_rows, lead), size, torch.float32, hidden.device)
    )
    small = Slab(min(block_rows, lead), size, hidden.dtype, hidden.device) if logits_slab is not None else None
    for low, high in rows.blocks():
        block = rows.block(low, high)
        here = slice(low, low + block.shape[0])
        if kept is not None and use_kept:
            tile = kept[low * size : high * size].view(high - low, size)
            factor = by_row.level[low:high].to(dtype).unsqueeze(1)
            factors = (block[: high - low] * factor).to(hidden.dtype)
        else:
            assert logits_slab is not None
            assert small is not None
            logits = logits_slab.view(block.shape[0], size)
            _logits(logits, block, weight, head.fast)
            tile = small.view(block.shape[0], size)
            tilt = None if by_row.tilt is None else by_row.tilt[here]
            gradient_over(logits, bias, targets[here], head, numbers[LSE][here], by_row.level[here], tilt,
                          by_row.target[here], tile)  # fmt: skip
            tile, factor, factors = tile[: high - low], None, block[: high - low]
        if into.hidden is not None:
            part = torch.empty((high - low, hidden.shape[1]), dtype=dtype, device=hidden.device)
            product_into(part, tile, weight)
            part = part if factor is None else part.mul_(factor)
            grad_rows.index_copy_(0, chosen[low:high], part)
        if sums is not None:
            product_into(sums, tile.t(), factors, add=True)
        if bias_sums is not None:
            ones = torch.ones((1, high - low), dtype=dtype, device=hidden.device) if factor is None else factor.t()
            product_into(bias_sums.unsqueeze(0), ones.to(tile.dtype), tile, add=True)
    for gradient, total in ((into.weight, sums), (into.bias, bias_sums)):
        if gradient is not None and total is not None and gradient is not total:
            gradient.copy_(total)
    return grad_rows


def _sums(gradient: Tensor | None, add: bool) -> Tensor | None:
    if gradient is None or add:
        return gradient
    if gradient.dtype == torch.float32:
        return gradient.zero_()
    return torch.zeros(gradient.shape, dtype=torch.float32, device=gradient.device)
