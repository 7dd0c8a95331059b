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
from typing import NamedTuple

import torch
from torch import Tensor

WIDEST = 8192
WEIGHTS_PER_TILE = 2**23
BLOCK_ROWS = 1024
ROW_QUANTUM = 64
LOWEST = -1e300


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
