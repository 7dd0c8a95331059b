"""Gradients of log-probabilities on a GPU, tile by tile: from the residuals kept, or from logits made again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from poz.torch.head.blocks import Rows, Slab, Tile, Weights
from poz.torch.head.coefficients import Chosen, RowGradients, all_rows, learning_rows, row_gradients
from poz.torch.head.head_gradient import HeadGradient, nothing
from poz.torch.head.launches import gradient_over, logits_into, product_into
from poz.torch.head.settings import Saved, Upstream
from poz.torch.head.statistics import RowStatistics
from poz.torch.head.tiles import compute_dtype, padded
from poz.torch.head.triton_memory import backward_shape
from poz.torch.head.work import Into, Work

Source = Callable[[Tile, int, int, Tensor], Tensor]  # d logits (high - low, width) of a block of rows


def backward_rows(work: Work, saved: Saved, upstream: Upstream, into: Into) -> Tensor:
    """Fills the gradients from `softmax - onehot`, or from logits made again; rows whose coefficients are 0 are left out."""
    hidden, weight = work.rows.hidden, work.weights.weight
    dtype = compute_dtype(hidden)
    only_logps = upstream.grad_logp is not None and upstream.grad_lse is None and upstream.grad_entropy is None
    keeps = work.settings.mode == "keep" and only_logps
    chosen = all_rows(work) if keeps else learning_rows(work, upstream)
    count = chosen.rows.count
    of_rows = hidden.new_zeros((count if into.hidden else 0, hidden.shape[1]), dtype=dtype)
    if count == 0:
        nothing(into)
        return chosen.spread(of_rows) if into.hidden else of_rows
    numbers, by_row = row_gradients(work, chosen, saved, upstream)
    height, width = backward_shape(padded(count), weight, work.settings.block_rows)
    rows = Rows(hidden, chosen.rows.index, height, hidden.dtype)
    level = _level(numbers, by_row)[:count].to(dtype).unsqueeze(1) if keeps else None
    source = (
        _kept(saved.kept, count, weight.shape[0]) if keeps else _again(work, chosen, numbers, by_row, height, width)
    )
    of_head = HeadGradient(into, width, dtype)
    for tile in _tiles(work.weights, width):
        of_weight, of_bias = of_head.weight(tile.start, tile.stop), of_head.bias(tile.start, tile.stop)
        for low, high in rows.blocks():
            block = rows.block(low, high)
            by = None if level is None else level[low:high]
            slopes = source(tile, low, high, block)
            if into.hidden:
                product_into(of_rows[low:high], slopes, tile.weight, add=True)
            if of_weight is not None:
                product_into(of_weight, slopes.t(), _scaled(block[: high - low], by), add=into.add or low > 0)
            if of_bias is not None:
                by = torch.ones_like(by_row.level[low:high]).unsqueeze(1) if by is None else by
                product_into(of_bias.unsqueeze(0), by.t().to(slopes.dtype), slopes, add=True)
        of_head.round(tile.start, tile.stop)
    of_head.finish()
    if not into.hidden:
        return of_rows
    return chosen.spread(of_rows if level is None else of_rows.mul_(level))


def _tiles(weights: Weights, width: int) -> Iterator[Tile]:
    """The head in tiles of that width."""
    weight, bias = weights.weight, weights.bias
    for number, start in enumerate(range(0, weight.shape[0], width)):
        stop = min(start + width, weight.shape[0])
        yield Tile(number, start, stop, weight[start:stop], None if bias is None else bias[start:stop])


def _level(numbers: RowStatistics, by_row: RowGradients) -> Tensor:
    """What residuals are multiplied by; NaN where the log-probability is, unless nothing is sent back to it."""
    unknown = (by_row.level != 0) & numbers.logp.isnan()
    return by_row.level.masked_fill(unknown, math.nan)


def _scaled(block: Tensor, by: Tensor | None) -> Tensor:
    """Hidden states times what residuals lack, 0 where that is 0, whatever they hold."""
    return block if by is None else (block * by).masked_fill_(by == 0, 0.0).to(block.dtype)


def _kept(kept: Tensor, count: int, size: int) -> Source:
    """`softmax - onehot` as the forward pass kept it, without coefficients."""
    residuals = kept[: count * size].view(count, size)
    return lambda tile, low, high, _: residuals[low:high, tile.start : tile.stop]


def _again(work: Work, chosen: Chosen, numbers: RowStatistics, by_row: RowGradients, height: int, width: int) -> Source:
    """From logits made again, with the coefficients."""
    hidden, head = work.rows.hidden, work.settings.head
    height = min(height, padded(chosen.rows.count))
    wide, small = (Slab(height, width, dtype, hidden.device) for dtype in (torch.float32, hidden.dtype))

    def source(tile: Tile, low: int, high: int, block: Tensor) -> Tensor:
        shape, here = (block.shape[0], tile.stop - tile.start), slice(low, low + block.shape[0])
        logits, made = wide.view(*shape), small.view(*shape)
        logits_into(logits, block, tile.weight, head.fast)
        tilt = None if by_row.tilt is None else by_row.tilt[here]
        targets = chosen.targets[here] - tile.start
        coefficients = numbers.lse[here], by_row.level[here], tilt, by_row.target[here]
        gradient_over(logits, tile.bias, targets, head, *coefficients, made)
        return made[: high - low]

    return source
