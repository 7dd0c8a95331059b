"""The implementation in plain torch."""

from __future__ import annotations

from poz.torch.head.backward import backward_rows, one_pass_gradient
from poz.torch.head.forward import forward_tiles
from poz.torch.head.settings import Saved
from poz.torch.head.statistics import Statistics, remember
from poz.torch.head.tiles import BLOCK_ROWS, compute_dtype, padded, vocabulary_tiles
from poz.torch.head.vocab_parallel import join
from poz.torch.head.work import Implementation, Size, Work


def workspace(size: Size, block_rows: int) -> int:
    """The bytes that the tiles of one pass take: slabs, a block of hidden states, converted weights, statistics."""
    dtype, hidden_size = compute_dtype(size.weight), size.weight.shape[1]
    item = dtype.itemsize
    tiles = vocabulary_tiles(*size.weight.shape)
    width, count = tiles[0][1], padded(size.rows)
    block = min(block_rows, count)
    slabs = 2 if "entropy" not in size.outputs else 4 if size.capped else 3
    taken = slabs * block * width * item + 3 * block * hidden_size * item + count * 8 * (2 * len(tiles) + 32)
    if size.weight.dtype != dtype:
        taken += 2 * width * hidden_size * item
    if size.fast:
        taken += 2 * block * width * item
    return taken


def forward_rows(work: Work, saved: Saved) -> Statistics:
    """Runs over all tiles and joins the shards."""
    count, mode = padded(work.rows.count), work.settings.mode
    part = forward_tiles(work, saved)
    joined = join(part, work.settings)
    if mode != "forward":
        remember(saved.stats[:, :count], joined, part.total)
    if mode == "one pass":
        one_pass_gradient(saved.kept[:count], work, part, joined)
    return joined


IMPLEMENTATION = Implementation(forward_rows, backward_rows, workspace, BLOCK_ROWS, exact_factors=True)
