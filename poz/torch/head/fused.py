"""Log-probabilities on a GPU without logits: one Triton product that keeps a maximum and a sum per row and split."""

from __future__ import annotations

import math

import torch
import triton
from torch import Tensor

from poz.kernels import logps as kernels
from poz.kernels.launch import FIXED, on_device_of
from poz.torch.head.launches import scaling
from poz.torch.head.settings import Saved
from poz.torch.head.statistics import Partials, Statistics, stacked
from poz.torch.head.tiles import BLOCK_ROWS, Head, padded
from poz.torch.head.vocab_parallel import join
from poz.torch.head.work import Implementation, Size, Work


def workspace(size: Size, block_rows: int) -> int:
    """The bytes of a pass without logits: a block of hidden states, and a maximum and a sum per row and split."""
    (vocabulary, hidden_size), rows = size.weight.shape, padded(size.rows)
    splits = -(-vocabulary // kernels.FUSED_SPLIT)
    return min(block_rows, rows) * (8 * 4 * splits + 8 * hidden_size) + rows * 8 * 34


def product_over(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    head: Head,
    split: int = kernels.FUSED_SPLIT,
    tile: tuple[int, int, int] | None = None,
    **options: int,
) -> Partials:
    """Launch `fused_forward`: statistics of the logits of (rows, hidden size), which are never stored.

    Args:
        hidden: (rows, hidden size), contiguous along it, as `weight` is.
        weight: (vocabulary, hidden size).
        bias: (vocabulary,) or None.
        targets: (rows,) int64.
        head: scaling and capping of logits.
        split: columns per program.
        tile: rows, columns and hidden sizes multiplied at a time.
        options: of the launch, such as `num_warps`.
    """
    (rows, width), vocabulary = hidden.shape, weight.shape[0]
    tile = tile or kernels.FUSED_TILES[hidden.element_size()]
    splits = triton.cdiv(vocabulary, split)
    maxima, sums = (torch.empty((splits, rows), dtype=torch.float32, device=hidden.device) for _ in range(2))
    own = torch.full((rows,), math.nan, dtype=torch.float32, device=hidden.device)
    inner, outer, _, capped = scaling(head)
    with on_device_of(hidden):
        kernels.fused_forward[(triton.cdiv(rows, tile[0]), splits)](
            hidden,
            hidden.stride(0),
            weight,
            weight.stride(0),
            bias,
            targets,
            maxima,
            sums,
            own,
            rows,
            vocabulary,
            width,
            inner,
            outer,
            CAPPED=capped,
            ROWS=tile[0],
            COLUMNS=tile[1],
            DEPTH=tile[2],
            SPLIT=split,
            AS_FLOAT32=hidden.device.type == "cpu",
            **{**kernels.FUSED_OPTIONS, **options},
            **FIXED,
        )
    owned = (targets >= 0) & (targets < vocabulary)
    others, own = (maxima.double() + sums.double().log()).logsumexp(0), own.double()
    total = torch.where(owned, torch.logaddexp(others, own), others)
    return Partials(others, own, owned, total, None, None, None, None, None)


def forward_rows(work: Work, saved: Saved) -> Statistics:
    """Runs over row chunks without logits and without a trace for a gradient."""
    rows, weights, targets, settings = work
    parts: list[Statistics] = []
    for low, high in rows.blocks():
        block = rows.block(low, high)
        local = targets[low : low + block.shape[0]]
        part = product_over(block, weights.weight, weights.bias, local, settings.head)
        parts.append(join(part, settings))
    return stacked(parts, targets)


IMPLEMENTATION = Implementation(forward_rows, None, workspace, 4 * BLOCK_ROWS, exact_factors=False)
