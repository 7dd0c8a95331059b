"""Gradients of tiled log-probabilities, from kept probabilities or from logits made again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from poz.torch.head.tiles import (
    LOWEST,
    Head,
    Rows,
    Slab,
    Weights,
    bend_by_cap,
    compute_dtype,
    locate,
    logits_into,
    multiply_into,
    padded,
    softmax_into,
    write_at,
)


class RowGradients(NamedTuple):
    """What each row's logits get: `p_j * (level + tilt * z_j)` off the target, `target` at it; float64 (padded rows,)."""

    level: Tensor
    tilt: Tensor | None
    target: Tensor


class Gradients(NamedTuple):
    """Where gradients go: hidden (rows, hidden size) in the computing dtype; weight and bias in their own; or None."""

    hidden: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


def bend_at(target_logit: Tensor, head: Head) -> Tensor | float:
    """d logit / d x of the soft cap at the target, 0 where the target is masked; 1 without a cap."""
    return 1.0 if head.softcap is None else 1 - (target_logit * head.bend).clamp(min=-1.0) ** 2


def row_gradients(
    head: Head,
    logp: Tensor,
    lse: Tensor,
    target_logit: Tensor,
    entropy: Tensor | None,
    owned: Tensor,
    grad_logp: Tensor | None,
    grad_lse: Tensor | None,
    grad_entropy: Tensor | None,
) -> RowGradients:
    """Turns upstream gradients, all float64 (rows,), into coefficients of the logits' gradient."""
    zero = torch.zeros_like(logp)
    by_logp = zero if grad_logp is None else grad_logp
    by_lse = zero if grad_lse is None else grad_lse
    level = by_lse - by_logp
    at_target = by_lse
    tilt = None
    if grad_entropy is not None and entropy is not None:
        level = level + grad_entropy * (lse - entropy)
        at_target = at_target - grad_entropy * (target_logit.clamp(min=LOWEST) - lse + entropy)
        tilt = -grad_entropy
    target = at_target * logp.exp() - by_logp * torch.expm1(logp)
    target = target * bend_at(target_logit, head)
    # A row whose target is of no use to this shard must not turn 0 * NaN into a gradient.
    return RowGradients(
        level * head.slope, None if tilt is None else tilt * head.slope, target.where(owned, zero) * head.slope
    )


def backward_tiles(
    rows: Rows,
    weights: Weights,
    targets: Tensor,
    head: Head,
    lse: Tensor,
    tile_lse: Tensor,
    kept: Tensor | None,
    kept_rows: int,
    positions: Tensor | None,
    by_row: RowGradients,
    into: Gradients,
    add: bool = False,
) -> None:
    """Fills the gradients.

    Args:
        rows: the rows that take part, a coefficient of zero left out.
        weights: the head.
        targets: (padded rows,) int64, local to this shard.
        head: scaling and capping of logits.
        lse: (padded rows,) float64, over all shards.
        tile_lse: (tiles, padded rows) float64.
        kept: the probabilities stored by `forward_tiles`, or None to make them again.
        kept_rows: padded number of rows in `kept`.
        positions: (rows,) where the rows lie in `kept`, or None if all of them take part.
        by_row: coefficients.
        into: where gradients go.
        add: whether those of weight and bias are added to what is there; they must then be of the computing dtype.
    """
    dtype, device = compute_dtype(rows.hidden), rows.hidden.device
    height, width = min(rows.block_rows, padded(rows.count)), weights.tiles[0][1]
    tile_slab = (
        None
        if kept is not None and positions is None
        else Slab(height, width, dtype if kept is None else kept.dtype, device)
    )
    logits_slab = Slab(height, width, dtype, device) if kept is None else None
    slope_slab = Slab(height, width, dtype, device) if by_row.tilt is not None else None
    product = None if into.hidden is None else torch.empty((height, rows.hidden.shape[1]), dtype=dtype, device=device)
    sums: Tensor | None = None
    if into.weight is not None and into.weight.dtype != dtype:
        sums = torch.empty((width, rows.hidden.shape[1]), dtype=dtype, device=device)
    bias_sums = None if into.bias is None else torch.zeros(into.bias.shape, dtype=dtype, device=device)
    for number, start, stop, weight, bias in weights:
        for low, high in rows.blocks():
            size = padded(high - low)
            here = slice(low, low + size)
            hidden = rows.block(low, high)
            factor = (tile_lse[number, here] - lse[here]).exp()
            if tile_slab is None:
                assert kept is not None
                tile = kept[kept_rows * start : kept_rows * stop].view(kept_rows, stop - start)[here]
            else:
                tile = tile_slab.view(size, stop - start)
            if kept is None:
                assert logits_slab is not None
                logits = logits_slab.view(size, stop - start)
                logits_into(logits, hidden, weight, bias, head)
                softmax_into(tile, logits, bias is not None)
                write_at(tile, locate(targets[here], start, stop), factor.new_zeros(size))
                if by_row.tilt is not None and slope_slab is not None:
                    slope = slope_slab.view(size, stop - start)
                    torch.mul(logits, by_row.tilt[here].to(dtype).unsqueeze(1), out=slope)
                    tile.mul_(slope.add_(by_row.level[here].to(dtype).unsqueeze(1)))
                if head.softcap is not None:
                    bend_by_cap(tile, logits, head)
            elif positions is not None:
                stored = kept[kept_rows * start : kept_rows * stop].view(kept_rows, stop - start)
                tile[: high - low].copy_(stored[positions[low:high]])
            if by_row.tilt is None:
                factor = factor * by_row.level[here]
            # A row's factor goes to the narrow side of each product, so the tile itself is not written again.
            by, part, hidden = factor[: high - low].to(dtype).unsqueeze(1), tile[: high - low], hidden[: high - low]
            inside = locate(targets[low:high], start, stop).inside.nonzero().squeeze(1)
            column = targets[low:high][inside] - start
            at_target = by_row.target[low:high][inside].to(dtype).unsqueeze(1)
            if bias_sums is not None:
                bias_sums[start:stop].addmv_(part.t().to(dtype), by.squeeze(1))
                bias_sums[start:stop].index_add_(0, column, at_target.squeeze(1))
            part = part.to(rows.dtype)
            if into.hidden is not None:
                assert product is not None
                multiply_into(product[: high - low], part, weight, accumulate=False)
                gradient = into.hidden[low:high]
                if number:
                    gradient.addcmul_(product[: high - low], by)
                else:
                    torch.mul(product[: high - low], by, out=gradient)
                gradient.index_add_(0, inside, weight[column].to(dtype).mul_(at_target))
            if into.weight is not None:
                target = into.weight[start:stop] if sums is None else sums[: stop - start]
                multiply_into(target, part.t(), (hidden * by).to(rows.dtype), accumulate=add or low > 0)
                target.index_add_(0, column, hidden[inside].to(dtype).mul_(at_target))
        if sums is not None and into.weight is not None:
            into.weight[start:stop].copy_(sums[: stop - start])
    if into.bias is not None and bias_sums is not None:
        into.bias.add_(bias_sums) if add else into.bias.copy_(bias_sums)


def one_pass_gradient(
    one_pass: Tensor,
    rows: int,
    weight: Tensor,
    targets: Tensor,
    head: Head,
    total: Tensor,
    lse: Tensor,
    logp: Tensor,
    target_logit: Tensor,
    owned: Tensor,
    block_rows: int,
) -> None:
    """Turns the sum over the other tokens into d log p / d hidden, in place, once the log-sum-exp over all shards is known."""
    others = -(total - lse).exp() * head.slope
    at_target = -torch.expm1(logp) * bend_at(target_logit, head) * head.slope
    at_target = at_target.where(owned, torch.zeros_like(at_target))
    for low in range(0, rows, block_rows):
        here = slice(low, min(low + block_rows, rows))
        own = weight[targets[here].clamp(0, weight.shape[0] - 1)].to(one_pass.dtype)
        one_pass[here].mul_(others[here].to(one_pass.dtype).unsqueeze(1))
        one_pass[here].addcmul_(own, at_target[here].to(one_pass.dtype).unsqueeze(1))
