"""The forward and the backward pass over a head, whoever runs them: rows that take part, then one implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from poz.torch.head.checks import check_rows, check_targets
from poz.torch.head.implementations import implementation_of
from poz.torch.head.settings import OUTPUTS, Inputs, Needs, Saved, Settings, Upstream
from poz.torch.head.statistics import RowStatistics
from poz.torch.head.tiles import compute_dtype, padded, vocabulary_tiles
from poz.torch.head.vocab_parallel import find_group, reduce_over
from poz.torch.head.work import Into, Work, taking_part, work_on


def allocate(inputs: Inputs, settings: Settings) -> Saved:
    """Allocates what the backward pass is to find."""
    hidden, weight, _, _, rows = inputs
    mode = settings.mode
    kept_dtype = implementation_of(settings.implementation).factor_dtype(hidden, settings.fast)
    count = padded(hidden.shape[0] if rows is None else rows.shape[0])
    saved = count if mode != "forward" else 0
    tiles = len(vocabulary_tiles(*weight.shape))
    kept_shape: tuple[int, ...] = (0,)
    if mode == "keep":
        kept_shape = (count * weight.shape[0],)
    elif mode == "one pass":
        kept_shape, kept_dtype = (count, hidden.shape[1]), compute_dtype(hidden)
    return Saved(
        hidden.new_empty((len(RowStatistics._fields), saved), dtype=torch.float64),
        hidden.new_empty((tiles, saved), dtype=torch.float64),
        hidden.new_empty(kept_shape, dtype=kept_dtype),
    )


def forward(inputs: Inputs, settings: Settings) -> tuple[Tensor, ...]:
    """The outputs of all rows, empty where not wanted, then `Saved`."""
    hidden, _, _, targets, rows = inputs
    with torch.autocast(hidden.device.type, enabled=False):
        if settings.check and rows is not None:  # while a call is traced, they have no values
            check_rows(rows, targets.shape[0])
        index = taking_part(targets, rows, settings.ignore_index)
        way = implementation_of(settings.implementation)
        work = work_on(inputs, index, settings, way.factor_dtype(hidden, settings.fast))
        count = work.rows.count
        if settings.check:
            check_targets(work.targets[:count] + settings.first, settings.vocabulary)
        saved = allocate(inputs, settings)
        made = way.forward(work, saved)
        dtype = compute_dtype(hidden)
        results = made.logp, made.lse, made.entropy, made.log_square, made.mean_logit, made.top1
        full = []
        for name, value in zip(OUTPUTS, results, strict=True):
            kind = torch.int64 if name == "top1" else dtype
            if name not in settings.wanted or value is None:
                full.append(hidden.new_empty(0, dtype=kind))
                continue
            value = value[:count].to(kind)
            whole = value.new_zeros(targets.shape)
            whole[...] = value if index is None else whole.index_copy(0, index, value)
            full.append(whole)
        return (*full, *saved)


def backward(
    upstream: Upstream, inputs: Inputs, saved: Saved, needs: Needs, settings: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of hidden, weight and bias; empty where not needed."""
    hidden, weight, bias, targets, rows = inputs
    with torch.autocast(hidden.device.type, enabled=False):
        index = taking_part(targets, rows, settings.ignore_index)
        by = Upstream(*(None if g is None else (g if index is None else g[index]).double() for g in upstream))
        grad_weight, grad_bias = hidden.new_empty(0), hidden.new_empty(0)
        if needs.need_weight:
            grad_weight = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
        if needs.need_bias and bias is not None:
            grad_bias = torch.empty(bias.shape, dtype=bias.dtype, device=bias.device)
        only_hidden = not (needs.need_weight or needs.need_bias)
        if settings.mode == "one pass" and only_hidden and by.grad_lse is None and by.grad_entropy is None:
            grad_rows = _scaled(saved.kept, by.grad_logp, targets.shape[0] if index is None else index.shape[0])
        else:
            into = Into(
                needs.need_hidden,
                grad_weight if needs.need_weight else None,
                grad_bias if needs.need_bias else None,
            )
            grad_rows = gradients(inputs, index, settings, saved, by, into)
        if not needs.need_hidden:
            return hidden.new_empty(0), grad_weight, grad_bias
        reduce_over(find_group(settings.group), grad_rows)
        if index is None:
            return grad_rows.to(hidden.dtype), grad_weight, grad_bias
        grad_hidden = torch.zeros(hidden.shape, dtype=hidden.dtype, device=hidden.device)
        return grad_hidden.index_copy_(0, index, grad_rows.to(hidden.dtype)), grad_weight, grad_bias


def gradients(
    inputs: Inputs, index: Tensor | None, settings: Settings, saved: Saved, upstream: Upstream, into: Into
) -> Tensor:
    """Fills gradients and gives that of the rows of that index (all, if None), whose upstream ones are float64."""
    way = implementation_of(settings.implementation)
    assert way.backward is not None  # of "fused", which never gets here
    work: Work = work_on(inputs, index, settings, way.factor_dtype(inputs.hidden, settings.fast))
    return way.backward(work, saved, upstream, into)


def _scaled(kept: Tensor, by_logp: Tensor | None, count: int) -> Tensor:
    """d logp / d hidden times the coefficients; a row without one is 0, whatever it holds."""
    grad_rows = kept.new_zeros((count, kept.shape[1]))
    if by_logp is not None:
        torch.mul(kept[:count], by_logp.to(kept.dtype).unsqueeze(1), out=grad_rows)
        grad_rows.masked_fill_((by_logp == 0).unsqueeze(1), 0.0)
    return grad_rows
