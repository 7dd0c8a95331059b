"""The passes in plain torch: which rows take part, and what is kept for the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from poz.torch.head.backward import Gradients, backward_tiles, one_pass_gradient, row_gradients
from poz.torch.head.tiles import Head, Rows, Weights, compute_dtype, forward_tiles, padded
from poz.torch.head.vocab_parallel import ENTROPY, LOGP, LSE, TARGET_LOGIT, Statistics, join, remember


def multiply_dtype(hidden: Tensor, fast: bool) -> torch.dtype:
    """The dtype of the matrix products' factors; only on a GPU are 16-bit ones multiplied into float32."""
    return hidden.dtype if fast else compute_dtype(hidden)


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
    """Runs over all tiles and joins the shards."""
    count = padded(rows.count)
    part = forward_tiles(
        rows,
        weights,
        local,
        head,
        wanted,
        kept if mode == "keep" else None,
        kept[:count] if mode == "one pass" else None,
        tile_lse[:, :count] if mode != "forward" else None,
    )
    joined = join(part, group, vocabulary, first)
    if mode != "forward":
        remember(stats[:, :count], joined, part.total)
    if mode == "one pass":
        one_pass_gradient(
            kept[:count],
            count,
            weights.weight,
            local,
            head,
            part.total,
            joined.lse,
            joined.logp,
            joined.target_logit,
            part.owned,
            rows.block_rows,
        )
    return joined


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
    """Fills the gradients; rows whose coefficients are 0 are left out."""
    active = torch.zeros(count, dtype=torch.bool, device=hidden.device)
    for gradient in upstream:
        if gradient is not None:
            active |= gradient != 0
    positions = active.nonzero().squeeze(1)
    grad_rows = None
    if into.hidden is not None:
        grad_rows = torch.zeros((count, hidden.shape[1]), dtype=compute_dtype(hidden), device=hidden.device)
    size = positions.shape[0]
    if size == 0:
        for gradient in into[1:]:
            if gradient is not None and not add:
                gradient.zero_()
        return hidden.new_empty(0) if grad_rows is None else grad_rows
    everything = size == count
    lead = padded(size)

    def at(values: Tensor, fill: float = 0.0) -> Tensor:
        chosen = values[..., :count] if everything else values[..., positions]
        return torch.nn.functional.pad(chosen, (0, lead - size), value=fill)

    chosen_targets = local[:lead] if everything else at(local, -1)
    row_stats = at(stats)
    by_row = row_gradients(
        head,
        row_stats[LOGP],
        row_stats[LSE],
        row_stats[TARGET_LOGIT],
        row_stats[ENTROPY],
        (chosen_targets >= 0) & (chosen_targets < weight.shape[0]),
        *(None if gradient is None else at(gradient) for gradient in upstream),
    )
    if not everything:
        index = positions if index is None else index[positions]
    dtype = multiply_dtype(hidden, head.fast)
    target = grad_rows
    if grad_rows is not None and not everything:
        target = grad_rows.new_empty((size, hidden.shape[1]))
    backward_tiles(
        Rows(hidden, index, block_rows, dtype),
        Weights(weight, bias, dtype),
        chosen_targets,
        head,
        row_stats[LSE],
        at(tile_lse),
        kept,
        padded(count),
        None if everything else positions,
        by_row,
        Gradients(target, into.weight, into.bias),
        add,
    )
    if grad_rows is None:
        return hidden.new_empty(0)
    if not everything and target is not None:
        grad_rows.index_copy_(0, positions, target)
    return grad_rows
