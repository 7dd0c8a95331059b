"""The forward pass over the tiles of a head in plain torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from poz.torch.head.blocks import Slab, Tile
from poz.torch.head.settings import Saved
from poz.torch.head.statistics import Partials
from poz.torch.head.tiles import (
    LOWEST,
    TileRows,
    bend_by_cap,
    compute_dtype,
    locate,
    logits_into,
    multiply_into,
    padded,
    softmax_into,
    write_at,
)
from poz.torch.head.work import Work

READ_LOGITS = frozenset({"entropy", "mean_logit", "top1"})


def forward_tiles(work: Work, saved: Saved) -> Partials:
    """Runs over all tiles and fills what is to be kept.

    That is, by mode: for "keep", (padded rows * vocabulary,) the tiles' probabilities without the target's, tile after tile;
    for "one pass", (padded rows, hidden size) sum over j != target of p_j * weight_j; both bent by the cap. For both and
    "recompute", `tile_lse`.
    """
    rows, weights, targets, settings = work
    head, wanted, mode = settings.head, settings.wanted, settings.mode
    device, count = rows.hidden.device, padded(rows.count)
    dtype = compute_dtype(rows.hidden)
    running = _Running(count, wanted, device)
    kept = saved.kept if mode == "keep" else None
    one_pass = saved.kept[:count] if mode == "one pass" else None
    height, width = min(rows.block_rows, count), weights.tiles[0][1]
    keeps = kept is not None and kept.dtype == dtype
    # One slab less to write, where nothing else reads the logits.
    in_place = head.softcap is None and weights.bias is None and not wanted & READ_LOGITS
    logits_slab = None if in_place and keeps else Slab(height, width, dtype, device)
    tile_slab = None if in_place or keeps else Slab(height, width, dtype, device)
    product = torch.empty_like(one_pass[:height]) if one_pass is not None else None
    product_slab = Slab(height, width, dtype, device) if "entropy" in wanted else None
    for part in weights:
        start, stop = part.start, part.stop
        for low, high in rows.blocks():
            hidden = rows.block(low, high)
            size = hidden.shape[0]
            here = slice(low, low + size)
            kept_tile = None
            if kept is not None:
                kept_tile = kept[count * start : count * stop].view(count, stop - start)[here]
            logits = kept_tile if logits_slab is None else logits_slab.view(size, stop - start)
            assert logits is not None
            logits_into(logits, hidden, part.weight, part.bias, head)
            where = locate(targets[here], start, stop)
            tile = logits if in_place else kept_tile if tile_slab is None else tile_slab.view(size, stop - start)
            assert tile is not None
            running.read_logits(here, logits, where)
            top, lse = softmax_into(tile, logits, part.bias is not None)
            before, after = running.join(here, lse)
            if mode != "forward":
                saved.tile_lse[part.number, here] = lse
            running.read_best(here, logits, top, start)
            running.read_spread(here, tile, logits, top, lse, product_slab, before, after)
            write_at(tile, where, torch.zeros_like(top))
            running.join_others(here, tile, lse, where)
            if head.softcap is not None and (kept is not None or one_pass is not None):
                bend_by_cap(tile, logits, head)
            if kept_tile is not None and kept_tile is not tile:
                kept_tile.copy_(tile)
            if one_pass is not None and product is not None:
                _add_product(one_pass[here], product[:size], tile, part, (before - after).exp(), (lse - after).exp())
    return running.partials((targets >= 0) & (targets < weights.weight.shape[0]))


def _add_product(sums: Tensor, product: Tensor, tile: Tensor, part: Tile, shrunk: Tensor, share: Tensor) -> None:
    """Adds a tile's share of sum p_j * weight_j to what the tiles before it, shrunk by it, add up to."""
    multiply_into(product, tile.to(part.weight.dtype), part.weight, accumulate=False)
    by = share.to(sums.dtype).unsqueeze(1)
    if part.number:
        sums.mul_(shrunk.to(sums.dtype).unsqueeze(1)).addcmul_(product, by)
    else:
        torch.mul(product, by, out=sums)


class _Running:
    """Statistics of rows over the tiles so far, float64 (padded rows,); None where not wanted."""

    def __init__(self, count: int, wanted: frozenset[str], device: torch.device) -> None:
        lowest = torch.full((count,), -math.inf, dtype=torch.float64, device=device)
        self.others, self.total = lowest.clone(), lowest.clone()
        self.target_logit = torch.full_like(lowest, math.nan)
        self.energy = torch.zeros_like(lowest) if "entropy" in wanted else None
        self.log_square = lowest.clone() if "log_sum_sq_probs" in wanted else None
        self.logit_sum = torch.zeros_like(lowest) if "mean_logit" in wanted else None
        self.best = lowest if "top1" in wanted else None
        self.best_index = torch.zeros(count, dtype=torch.int64, device=device) if "top1" in wanted else None

    def read_logits(self, here: slice, logits: Tensor, where: TileRows) -> None:
        """What the softmax may write over."""
        picked = logits.gather(1, where.column).squeeze(1).double()
        self.target_logit[here] = torch.where(where.inside, picked, self.target_logit[here])
        if self.logit_sum is not None:
            self.logit_sum[here] += logits.sum(1).double()

    def join(self, here: slice, lse: Tensor) -> tuple[Tensor, Tensor]:
        """The log-sum-exp before and after the tile, the latter finite."""
        before = self.total[here].clone()
        joined = torch.logaddexp(before, lse)
        self.total[here] = joined
        return before, joined.clamp(min=LOWEST)

    def read_best(self, here: slice, logits: Tensor, top: Tensor, start: int) -> None:
        """The first of the largest logits."""
        if self.best is not None and self.best_index is not None:
            better = top.double() > self.best[here]
            self.best[here] = torch.where(better, top.double(), self.best[here])
            self.best_index[here] = torch.where(better, logits.argmax(1) + start, self.best_index[here])

    def read_spread(
        self,
        here: slice,
        tile: Tensor,
        logits: Tensor,
        top: Tensor,
        lse: Tensor,
        slab: Slab | None,
        before: Tensor,
        after: Tensor,
    ) -> None:
        """The mean logit under the distribution, and the sum of squared probabilities."""
        if self.energy is not None and slab is not None:
            # A softmax sums to 1 only to float32; left in, that error would be multiplied by the size of the logits.
            energies = torch.mul(tile, logits, out=slab.view(*tile.shape))
            mean = energies.sum(1).double() - top.double().clamp(min=-1e30) * (tile.sum(1).double() - 1)
            self.energy[here] = self.energy[here] * (before - after).exp() + mean * (lse - after).exp()
        if self.log_square is not None:
            squares = 2 * (lse + torch.linalg.vector_norm(tile, dim=1).double().log())
            self.log_square[here] = torch.logaddexp(self.log_square[here], squares)

    def join_others(self, here: slice, tile: Tensor, lse: Tensor, where: TileRows) -> None:
        """The log-sum-exp of all but the target, which the tile now lacks."""
        rest = lse + tile.sum(1).double().log()
        self.others[here] = torch.logaddexp(self.others[here], torch.where(where.inside, rest, lse))

    def partials(self, owned: Tensor) -> Partials:
        """Of the shard, once all tiles are read."""
        return Partials(
            self.others,
            self.target_logit,
            owned,
            self.total,
            self.energy,
            self.log_square,
            self.logit_sum,
            self.best,
            self.best_index,
        )
