"""Log-probabilities and their gradients in tiles of the vocabulary, in plain torch.

The logits exist one tile at a time: `block` rows by at most `WIDEST` columns, in one reused slab. A tile's softmax is
normalised within the tile, and its log-sum-exp (kept per tile and row, in float64) joins the tiles:

    p_j = softmax_tile(z)_j * exp(lse_tile - lse).

The target is taken out of its tile, so that `log p = -log(1 + exp(lse_others - z_target))` has full relative precision for
confident tokens, and its gradient is `-expm1(log p)`.

Tile widths depend on the shape of the head alone and rows come in multiples of `ROW_QUANTUM`, so every way through (keep,
recompute, one pass, forward only, any memory limit) multiplies the same shapes and gives bitwise the same log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

WIDEST = 8192
WEIGHTS_PER_TILE = 2**23
BLOCK_ROWS = 1024
ROW_QUANTUM = 64
LOWEST = -1e300
READ_LOGITS = frozenset({"entropy", "mean_logit", "top1"})


class Head(NamedTuple):
    """What is done to `hidden @ weight.T + bias` to make logits: `softcap(logit_scale * x) / temperature`.

    Where the bias is -inf the logit is -inf, whatever the cap and the scale.
    """

    temperature: float
    logit_scale: float
    softcap: float | None
    fast: bool

    @property
    def slope(self) -> float:
        """d logit / d (hidden @ weight.T) where the cap does not bend it."""
        return self.logit_scale / self.temperature

    @property
    def bend(self) -> float:
        """What turns a logit back into the tanh inside the cap."""
        return 0.0 if self.softcap is None else self.temperature / self.softcap


class Partials(NamedTuple):
    """Per-row statistics of one vocabulary shard, float64 (rows,); the ones not asked for are None."""

    others: Tensor
    target_logit: Tensor
    owned: Tensor
    total: Tensor
    mean_energy: Tensor | None
    log_square: Tensor | None
    logit_sum: Tensor | None
    best: Tensor | None
    best_index: Tensor | None


def vocabulary_tiles(size: int, hidden_size: int) -> list[tuple[int, int]]:
    """The (start, stop) of each tile: as even as multiples of 16 allow, narrower for wide hidden states.

    Wide tiles mean few parallel regions, which matters on a busy machine more than a slab that fits the cache.
    """
    widest = min(WIDEST, max(512, WEIGHTS_PER_TILE // max(hidden_size, 1) // 16 * 16))
    even = -(-size // -(-size // widest))
    width = -(-even // 16) * 16
    return [(start, min(start + width, size)) for start in range(0, size, width)]


def padded(rows: int) -> int:
    """The number of rows rounded up to the quantum that matrix products are made in."""
    return -(-rows // ROW_QUANTUM) * ROW_QUANTUM


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype of logits: float64 for float64 inputs, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


class Rows:
    """The rows that take part, in blocks padded with zero rows, in the dtype they are multiplied in."""

    def __init__(self, hidden: Tensor, index: Tensor | None, block_rows: int, dtype: torch.dtype) -> None:
        self.hidden, self.index, self.dtype = hidden, index, dtype
        self.count = hidden.shape[0] if index is None else index.shape[0]
        self.block_rows = block_rows
        self._whole = index is None and hidden.dtype == dtype and hidden.is_contiguous()
        self._buffer: Tensor | None = None
        self._held = -1

    def blocks(self) -> list[tuple[int, int]]:
        """The (first, last + 1) of each block."""
        return [(low, min(low + self.block_rows, self.count)) for low in range(0, self.count, self.block_rows)]

    def block(self, low: int, high: int) -> Tensor:
        """Rows low to high as (padded rows, hidden size); a view where nothing has to be moved."""
        size = padded(high - low)
        if self._whole and size == high - low:
            return self.hidden[low:high]
        if self._buffer is None:
            shape = (min(self.block_rows, padded(self.count)), self.hidden.shape[1])
            self._buffer = torch.empty(shape, dtype=self.dtype, device=self.hidden.device)
        if self._held != low:
            source = self.hidden[low:high] if self.index is None else self.hidden[self.index[low:high]]
            self._buffer[: high - low].copy_(source)
            self._buffer[high - low : size].zero_()
            self._held = low
        return self._buffer[:size]


class Weights:
    """Tiles of the head in the dtype they are multiplied in, converted into one reused slab where they must be."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight, self.bias, self.dtype = weight, bias, dtype
        self.tiles = vocabulary_tiles(*weight.shape)
        self._buffer: Tensor | None = None

    def __iter__(self) -> Iterator[tuple[int, int, int, Tensor, Tensor | None]]:
        """Yield number, start, stop, weight (width, hidden size) and bias (width,) of each tile."""
        for number, (start, stop) in enumerate(self.tiles):
            weight = self.weight[start:stop]
            if weight.dtype != self.dtype:
                if self._buffer is None:
                    self._buffer = weight.new_empty((self.tiles[0][1], weight.shape[1]), dtype=self.dtype)
                weight = self._buffer[: stop - start].copy_(weight)
            yield number, start, stop, weight, None if self.bias is None else self.bias[start:stop]


class Slab:
    """One allocation that every tile is a contiguous view of."""

    def __init__(self, rows: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self.flat = torch.empty(rows * width, dtype=dtype, device=device)

    def view(self, rows: int, width: int) -> Tensor:
        """The first rows * width numbers as a matrix."""
        return self.flat[: rows * width].view(rows, width)


def multiply_into(out: Tensor, left: Tensor, right: Tensor, accumulate: bool) -> None:
    """Sets or adds `left @ right` to `out`; 16-bit factors are multiplied in 16 bit and added in the precision of `out`."""
    if left.dtype != out.dtype:
        product = torch.mm(left, right)
        out.add_(product) if accumulate else out.copy_(product)
    elif accumulate:
        out.addmm_(left, right)
    else:
        torch.mm(left, right, out=out)


def logits_into(out: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor | None, head: Head) -> None:
    """Writes the logits of one tile (rows, width) into `out`."""
    inner = head.slope if head.softcap is None else head.logit_scale / head.softcap
    if hidden.dtype == out.dtype and bias is None:
        torch.addmm(out, hidden, weight.t(), beta=0, alpha=inner, out=out)
    else:
        multiply_into(out, hidden, weight.t(), accumulate=False)
        if bias is not None:
            out.add_(bias)
        if inner != 1.0:
            out.mul_(inner)
    if head.softcap is not None:
        out.tanh_().mul_(head.softcap / head.temperature)
    if bias is not None and (head.softcap is not None or inner <= 0):  # else -inf has stayed what it was
        out.masked_fill_(bias == -math.inf, -math.inf)


class TileRows(NamedTuple):
    """Where the targets of one block lie in one tile."""

    column: Tensor
    inside: Tensor


def locate(targets: Tensor, start: int, stop: int) -> TileRows:
    """The column (rows, 1) of each target within the tile, clamped, and whether it is in there."""
    local = targets - start
    return TileRows(local.clamp(0, stop - start - 1).unsqueeze(1), (local >= 0) & (local < stop - start))


def write_at(tile: Tensor, where: TileRows, value: Tensor) -> None:
    """Overwrite the entry of each target that lies in the tile."""
    old = tile.gather(1, where.column)
    tile.scatter_(1, where.column, torch.where(where.inside.unsqueeze(1), value.to(tile.dtype).unsqueeze(1), old))


def softmax_into(out: Tensor, logits: Tensor, may_be_masked: bool) -> tuple[Tensor, Tensor]:
    """Writes the tile's own softmax; gives the row maxima and the tile's log-sum-exp, float64 (rows,)."""
    top = logits.amax(1)
    torch.softmax(logits, 1, out=out)
    # The largest probability is 1 / sum(exp(z - max)), which is all the log-sum-exp still lacks.
    lse = top.double() - out.amax(1).double().log()
    if may_be_masked:
        masked = top == -math.inf
        out.masked_fill_(masked.unsqueeze(1), 0.0)
        logits.clamp_(min=-1e30)
        lse = lse.masked_fill(masked, -math.inf)
    return top, lse


def bend_by_cap(tile: Tensor, logits: Tensor, head: Head) -> None:
    """Multiplies a tile by d logit / d x of the soft cap, `1 - tanh^2`, 0 where masked; `logits` is used up."""
    tile.mul_(logits.mul_(head.bend).clamp_(min=-1.0).square_().neg_().add_(1.0))


def forward_tiles(
    rows: Rows,
    weights: Weights,
    targets: Tensor,
    head: Head,
    wanted: frozenset[str],
    kept: Tensor | None,
    one_pass: Tensor | None,
    tile_lse: Tensor | None,
) -> Partials:
    """Runs over all tiles and fills what is to be kept.

    Args:
        rows: the rows that take part.
        weights: the head.
        targets: (padded rows,) int64, local to this shard; anything outside it belongs to another.
        head: scaling and capping of logits.
        wanted: names of extra statistics.
        kept: (padded rows * vocabulary,) the tiles' probabilities without the target's, tile after tile, or None.
        one_pass: (padded rows, hidden size) sum over j != target of p_j * weight_j, bent by the cap, or None.
        tile_lse: (tiles, padded rows) float64, or None.
    """
    device, count = rows.hidden.device, padded(rows.count)
    dtype = compute_dtype(rows.hidden)
    statistic = torch.full((count,), -math.inf, dtype=torch.float64, device=device)
    others, total = statistic.clone(), statistic.clone()
    target_logit = torch.full_like(statistic, math.nan)
    entropy, square = "entropy" in wanted, "log_sum_sq_probs" in wanted
    energy = torch.zeros_like(statistic) if entropy else None
    log_square = statistic.clone() if square else None
    logit_sum = torch.zeros_like(statistic) if "mean_logit" in wanted else None
    best = statistic.clone() if "top1" in wanted else None
    best_index = torch.zeros(count, dtype=torch.int64, device=device) if "top1" in wanted else None
    height, width = min(rows.block_rows, count), weights.tiles[0][1]
    keeps = kept is not None and kept.dtype == dtype
    # One slab less to write, where nothing else reads the logits.
    in_place = head.softcap is None and weights.bias is None and not wanted & READ_LOGITS
    logits_slab = None if in_place and keeps else Slab(height, width, dtype, device)
    tile_slab = None if in_place or keeps else Slab(height, width, dtype, device)
    product = torch.empty_like(one_pass[: min(rows.block_rows, count)]) if one_pass is not None else None
    product_slab = Slab(height, width, dtype, device) if entropy else None
    for number, start, stop, weight, bias in weights:
        for low, high in rows.blocks():
            hidden = rows.block(low, high)
            size = hidden.shape[0]
            here = slice(low, low + size)
            kept_tile = None
            if kept is not None:
                kept_tile = kept[count * start : count * stop].view(count, stop - start)[here]
            logits = kept_tile if logits_slab is None else logits_slab.view(size, stop - start)
            assert logits is not None
            logits_into(logits, hidden, weight, bias, head)
            where = locate(targets[here], start, stop)
            picked = logits.gather(1, where.column).squeeze(1).double()
            tile = logits if in_place else kept_tile if tile_slab is None else tile_slab.view(size, stop - start)
            assert tile is not None
            if logit_sum is not None:
                logit_sum[here] += logits.sum(1).double()
            top, lse = softmax_into(tile, logits, bias is not None)
            target_logit[here] = torch.where(where.inside, picked, target_logit[here])
            before = total[here].clone()
            joined = torch.logaddexp(before, lse)
            total[here] = joined
            grown = joined.clamp(min=LOWEST)
            if tile_lse is not None:
                tile_lse[number, here] = lse
            if best is not None and best_index is not None:
                better = top.double() > best[here]
                best[here] = torch.where(better, top.double(), best[here])
                best_index[here] = torch.where(better, logits.argmax(1) + start, best_index[here])
            if energy is not None:
                # A softmax sums to 1 only to float32; left in, that error would be multiplied by the size of the logits.
                assert product_slab is not None
                energies = torch.mul(tile, logits, out=product_slab.view(size, stop - start))
                mean = energies.sum(1).double() - top.double().clamp(min=-1e30) * (tile.sum(1).double() - 1)
                energy[here] = energy[here] * (before - grown).exp() + mean * (lse - grown).exp()
            if log_square is not None:
                log_square[here] = torch.logaddexp(
                    log_square[here], 2 * (lse + torch.linalg.vector_norm(tile, dim=1).double().log())
                )
            write_at(tile, where, torch.zeros_like(top))
            rest = lse + tile.sum(1).double().log()
            others[here] = torch.logaddexp(others[here], torch.where(where.inside, rest, lse))
            if head.softcap is not None and (kept is not None or one_pass is not None):
                bend_by_cap(tile, logits, head)
            if kept_tile is not None and kept_tile is not tile:
                kept_tile.copy_(tile)
            if one_pass is not None and product is not None:
                share = (lse - grown).exp().to(one_pass.dtype).unsqueeze(1)
                multiply_into(product[:size], tile.to(weight.dtype), weight, accumulate=False)
                sums = one_pass[here]
                if number:
                    sums.mul_((before - grown).exp().to(one_pass.dtype).unsqueeze(1)).addcmul_(product[:size], share)
                else:
                    torch.mul(product[:size], share, out=sums)
    owned = (targets >= 0) & (targets < weights.weight.shape[0])
    return Partials(others, target_logit, owned, total, energy, log_square, logit_sum, best, best_index)
