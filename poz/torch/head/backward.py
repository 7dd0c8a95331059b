"""Gradients of tiled log-probabilities in plain torch, from kept probabilities or from logits made again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from poz.torch.head.blocks import Slab, Tile
from poz.torch.head.coefficients import Chosen, RowGradients, bend_at, learning_rows, row_gradients
from poz.torch.head.head_gradient import HeadGradient, nothing
from poz.torch.head.settings import Saved, Upstream
from poz.torch.head.statistics import Partials, Statistics
from poz.torch.head.tiles import (
    bend_by_cap,
    compute_dtype,
    locate,
    logits_into,
    multiply_into,
    padded,
    softmax_into,
    write_at,
)
from poz.torch.head.work import Into, Work


def backward_rows(work: Work, saved: Saved, upstream: Upstream, into: Into) -> Tensor:
    """Fills the gradients; rows whose coefficients are 0 are left out."""
    hidden, dtype = work.rows.hidden, compute_dtype(work.rows.hidden)
    chosen = learning_rows(work, upstream)
    rows = chosen.rows
    of_rows = torch.empty((rows.count if into.hidden else 0, hidden.shape[1]), dtype=dtype, device=hidden.device)
    if rows.count == 0:
        nothing(into)
        return chosen.spread(of_rows) if into.hidden else of_rows
    numbers, by_row = row_gradients(work, chosen, saved, upstream)
    tile_lse = chosen.at(saved.tile_lse)
    height, width = min(rows.block_rows, padded(rows.count)), work.weights.tiles[0][1]
    keeps = work.settings.mode == "keep" and upstream.grad_entropy is None
    source: _Kept | _Again
    source = _Kept(saved.kept, chosen, height, width) if keeps else _Again(work, chosen, by_row, height, width)
    of_head = HeadGradient(into, width, dtype)
    product = torch.empty((height, hidden.shape[1]), dtype=dtype, device=hidden.device) if into.hidden else None
    for tile in work.weights:
        of_weight, of_bias = of_head.weight(tile.start, tile.stop), of_head.bias(tile.start, tile.stop)
        for low, high in rows.blocks():
            block = rows.block(low, high)
            here = slice(low, low + block.shape[0])
            factor = (tile_lse[tile.number, here] - numbers.lse[here]).exp()
            probabilities = source.probabilities(tile, low, high, block)[: high - low]
            if by_row.tilt is None:
                factor = factor * by_row.level[here]
            # A row's factor goes to the narrow side of each product, so the tile itself is not written again.
            by, block = factor[: high - low].to(dtype).unsqueeze(1), block[: high - low]
            owned = _owned(chosen, by_row, tile, low, high, dtype)
            if of_bias is not None:
                of_bias.addmv_(probabilities.t().to(dtype), by.squeeze(1))
                of_bias.index_add_(0, owned.column, owned.by.squeeze(1))
            probabilities = probabilities.to(rows.dtype)
            if product is not None:
                _to_rows(of_rows[low:high], product[: high - low], probabilities, by, tile, owned)
            if of_weight is not None:
                factors = (block * by).to(rows.dtype)
                multiply_into(of_weight, probabilities.t(), factors, accumulate=into.add or low > 0)
                of_weight.index_add_(0, owned.column, block[owned.rows].to(dtype).mul_(owned.by))
        of_head.round(tile.start, tile.stop)
    of_head.finish()
    return chosen.spread(of_rows) if into.hidden else of_rows


class _Kept:
    """Tiles of probabilities that the forward pass kept, without the target's, bent by the cap."""

    def __init__(self, kept: Tensor, chosen: Chosen, height: int, width: int) -> None:
        self.kept, self.chosen, self.rows = kept, chosen, padded(chosen.total)
        self.slab = None if chosen.positions is None else Slab(height, width, kept.dtype, kept.device)

    def probabilities(self, tile: Tile, low: int, high: int, block: Tensor) -> Tensor:
        """(padded rows, width) of a block of rows."""
        size, width = block.shape[0], tile.stop - tile.start
        stored = self.kept[self.rows * tile.start : self.rows * tile.stop].view(self.rows, width)
        if self.slab is None or self.chosen.positions is None:
            return stored[low : low + size]
        made = self.slab.view(size, width)
        made[: high - low].copy_(stored[self.chosen.positions[low:high]])
        return made


class _Again:
    """Tiles of probabilities from logits made again, without the target's, tilted by the entropy and bent by the cap."""

    def __init__(self, work: Work, chosen: Chosen, by_row: RowGradients, height: int, width: int) -> None:
        self.head, self.targets, self.by_row = work.settings.head, chosen.targets, by_row
        self.dtype = compute_dtype(work.rows.hidden)

        def slab() -> Slab:
            return Slab(height, width, self.dtype, work.rows.hidden.device)

        self.made, self.logits, self.slope = slab(), slab(), None if by_row.tilt is None else slab()

    def probabilities(self, tile: Tile, low: int, high: int, block: Tensor) -> Tensor:
        """(padded rows, width) of a block of rows."""
        size, width = block.shape[0], tile.stop - tile.start
        here = slice(low, low + size)
        made, logits = self.made.view(size, width), self.logits.view(size, width)
        logits_into(logits, block, tile.weight, tile.bias, self.head)
        softmax_into(made, logits, tile.bias is not None)
        write_at(made, locate(self.targets[here], tile.start, tile.stop), self.by_row.level.new_zeros(size))
        if self.by_row.tilt is not None and self.slope is not None:
            slope = self.slope.view(size, width)
            torch.mul(logits, self.by_row.tilt[here].to(self.dtype).unsqueeze(1), out=slope)
            made.mul_(slope.add_(self.by_row.level[here].to(self.dtype).unsqueeze(1)))
        if self.head.softcap is not None:
            bend_by_cap(made, logits, self.head)
        return made


class _Owned(NamedTuple):
    """Rows of a block whose target lies in a tile: their places, those of the targets, and the coefficients (rows, 1)."""

    rows: Tensor
    column: Tensor
    by: Tensor


def _owned(chosen: Chosen, by_row: RowGradients, tile: Tile, low: int, high: int, dtype: torch.dtype) -> _Owned:
    targets = chosen.targets[low:high]
    rows = locate(targets, tile.start, tile.stop).inside.nonzero().squeeze(1)
    return _Owned(rows, targets[rows] - tile.start, by_row.target[low:high][rows].to(dtype).unsqueeze(1))


def _to_rows(into: Tensor, product: Tensor, probabilities: Tensor, by: Tensor, tile: Tile, owned: _Owned) -> None:
    """Sets or, after the first tile, adds the gradient of a block of hidden states."""
    multiply_into(product, probabilities, tile.weight, accumulate=False)
    if tile.number:
        into.addcmul_(product, by)
    else:
        torch.mul(product, by, out=into)
    into.index_add_(0, owned.rows, tile.weight[owned.column].to(into.dtype).mul_(owned.by))


def one_pass_gradient(one_pass: Tensor, work: Work, part: Partials, joined: Statistics) -> None:
    """Turns the sum over the other tokens into d log p / d hidden, in place, once the log-sum-exp over all shards is known."""
    head, weight = work.settings.head, work.weights.weight
    others = -(part.total - joined.lse).exp() * head.slope
    at_target = -torch.expm1(joined.logp) * bend_at(joined.target_logit, head) * head.slope
    at_target = at_target.where(part.owned, torch.zeros_like(at_target))
    for low in range(0, one_pass.shape[0], work.rows.block_rows):
        here = slice(low, min(low + work.rows.block_rows, one_pass.shape[0]))
        own = weight[work.targets[here].clamp(0, weight.shape[0] - 1)].to(one_pass.dtype)
        one_pass[here].mul_(others[here].to(one_pass.dtype).unsqueeze(1))
        one_pass[here].addcmul_(own, at_target[here].to(one_pass.dtype).unsqueeze(1))
