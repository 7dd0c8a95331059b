"""Log-probabilities on a GPU: matrix products, and one Triton pass over each, in chunks of rows over the whole vocabulary."""

from __future__ import annotations

import torch

from poz.torch.head.blocks import Slab
from poz.torch.head.coefficients import bend_at
from poz.torch.head.launches import gradient_over, logits_into, pass_over, product_into
from poz.torch.head.settings import Saved
from poz.torch.head.statistics import Statistics, remember, stacked
from poz.torch.head.tiles import BLOCK_ROWS, padded
from poz.torch.head.triton_backward import backward_rows
from poz.torch.head.triton_memory import workspace
from poz.torch.head.vocab_parallel import join
from poz.torch.head.work import Implementation, Work


def forward_rows(work: Work, saved: Saved) -> Statistics:
    """Runs over row chunks; keeps `softmax - onehot` (mode "keep") or d log p / d hidden (mode "one pass")."""
    rows, weights, targets, settings = work
    head, mode = settings.head, settings.mode
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
        logits_into(logits, hidden, weight, head.fast)
        part = pass_over(logits, bias, targets[here], head, settings.wanted)
        joined = join(part, settings)
        residual = None
        if mode == "keep":
            residual = saved.kept[low * size : (low + count) * size].view(count, size)
        elif small is not None:
            residual = small.view(count, size)
        if residual is not None:
            one = torch.ones_like(joined.lse)
            at_target = torch.expm1(joined.logp) * bend_at(joined.target_logit, head)
            at_target = at_target.where(part.owned, 0 * one)
            if mode == "keep":  # a row that turns out to have no coefficient must not turn 0 * NaN into a gradient
                unknown = joined.logp.isnan()
                one, at_target = one.masked_fill(unknown, 0.0), at_target.masked_fill(unknown, 0.0)
            gradient_over(logits, bias, targets[here], head, joined.lse, one, None, at_target, residual)
        if mode == "one pass" and residual is not None:
            product_into(saved.kept[here], residual, weight)
            saved.kept[here].mul_(-head.slope)
        if mode != "forward":
            remember(saved.stats[:, here], joined, part.total)
        parts.append(joined)
    return stacked(parts, targets)


IMPLEMENTATION = Implementation(forward_rows, backward_rows, workspace, 4 * BLOCK_ROWS, exact_factors=False)
