"""A small call: rows that all take part, in one block, and one tile of the vocabulary, on a CPU.

What takes time there is not arithmetic but the number of operations, so what joins tiles, blocks and shards is left out: it
adds `log(1 + exp(-inf))`, multiplies by `exp(0)` or chooses what is all chosen. The bits are those of `passes`, which also
does the backward pass where some coefficient is 0. A signature is looked at once: whatever it fixes is not checked again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from poz.torch.head import passes
from poz.torch.head.logps import once
from poz.torch.head.operators import NO_SECOND, is_traced
from poz.torch.head.settings import Inputs, Needs, Saved, Settings, Upstream
from poz.torch.head.statistics import RowStatistics
from poz.torch.head.tiles import padded, vocabulary_tiles

KNOWN: dict[Any, Settings] = {}
MOST = 4096  # signatures


def signature_of(hidden: Any, weight: Any, targets: Any, *settings: Any) -> tuple[Any, ...] | None:
    """All that checks and plan depend on beside values; None for what is not served here."""
    if is_traced(hidden, weight, targets):
        return None
    if torch.is_autocast_enabled("cpu") or weight.dim() != 2 or len(vocabulary_tiles(*weight.shape)) != 1:
        return None
    signature = (
        hidden.shape,
        weight.shape,
        targets.shape,
        hidden.dtype,
        weight.dtype,
        targets.dtype,
        hidden.device,
        weight.device,
        targets.device,
        hidden.layout,
        weight.layout,
        targets.layout,
        hidden.requires_grad,
        weight.requires_grad,
        torch.is_grad_enabled(),
        *settings,
        *map(type, settings),
    )
    try:
        hash(signature)
    except TypeError:
        return None
    return signature


def learn(signature: tuple[Any, ...], settings: Settings) -> None:
    """Remembers a call that has passed every check, if it is served here; all are forgotten when there are too many."""
    targets, dtype = signature[2:4]
    served = (
        dtype in (torch.float32, torch.float64) and signature[6].type == "cpu" and settings.implementation == "torch"
    )
    if served and settings.mode != "recompute" and 0 < targets.numel() <= settings.block_rows:
        if len(KNOWN) >= MOST:
            KNOWN.clear()
        KNOWN[signature] = settings


def run(hidden: Tensor, weight: Tensor, targets: Tensor, settings: Settings) -> Tensor | None:
    """The log-probabilities, or None where some target is ignored or does not exist."""
    least, most = (int(bound) for bound in torch.aminmax(targets))
    if least < 0 or most >= settings.vocabulary or least <= settings.ignore_index <= most:
        return None
    flat = hidden if hidden.dim() == 2 else hidden.reshape(-1, hidden.shape[-1])
    column = targets if targets.dim() == 1 else targets.reshape(-1)
    if settings.mode == "forward":
        with torch.no_grad():
            made = _forward(flat, weight, column, settings)[0]
    else:
        apply: Any = _OneTile.apply
        made = apply(flat, weight, column, settings)
    return made if targets.dim() == 1 else made.view(targets.shape)


def _forward(hidden: Tensor, weight: Tensor, targets: Tensor, settings: Settings) -> tuple[Tensor, ...]:
    """The log-probs, then float64 (padded rows,) numbers, then the tile without its targets, or d logp / d hidden."""
    count = targets.shape[0]
    more = padded(count) - count
    block, column = hidden.contiguous(), targets.unsqueeze(1)
    if more:
        block = torch.constant_pad_nd(block, (0, 0, 0, more))
        column = torch.constant_pad_nd(column, (0, 0, 0, more))
    slope = settings.logit_scale / settings.temperature
    tile = block.new_empty((count + more, weight.shape[0]))
    torch.addmm(tile, block, weight.t(), beta=0, alpha=slope, out=tile)
    target_logit = tile.gather(1, column).squeeze(1).double()
    top = tile.amax(1)
    torch.softmax(tile, 1, out=tile)
    total = top.double() - tile.amax(1).double().log()
    tile.scatter_(1, column, 0.0)
    others = total + tile.sum(1).double().log()
    behind = others - target_logit
    logp = -torch.logaddexp(behind, torch.zeros_like(behind))
    lse = torch.logaddexp(others, target_logit)
    result = logp[:count].to(hidden.dtype) if hidden.dtype != torch.float64 else logp[:count].clone()
    if settings.mode == "one pass":
        one_pass = torch.mm(tile, weight)
        factor = -(total - lse).exp() * slope
        at_target = -torch.expm1(logp) * slope
        one_pass.mul_(factor.to(tile.dtype).unsqueeze(1))
        tile = one_pass.addcmul_(weight[column.squeeze(1)], at_target.to(tile.dtype).unsqueeze(1))
    return result, logp, lse, target_logit, total, tile


class _OneTile(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, settings: Settings) -> Tensor:
        result, *kept = _forward(hidden, weight, targets, settings)
        ctx.save_for_backward(hidden, weight, targets, *kept)
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None) -> tuple[Any, ...]:
        if upstream is None:
            return None, None, None, None
        hidden, weight, targets, logp, lse, target_logit, total, tile = ctx.saved_tensors
        given = upstream, hidden, weight, targets, logp, lse, target_logit, total, tile
        needs = ctx.needs_input_grad[:2]
        if not torch.is_grad_enabled():
            return *_gradients(*given, ctx.settings, needs), None, None
        with torch.no_grad():
            made = _gradients(*given, ctx.settings, needs)
        origins = upstream, hidden, weight
        return *(None if x is None else once(NO_SECOND, x, *origins) for x in made), None, None


def _gradients(
    upstream: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    logp: Tensor,
    lse: Tensor,
    target_logit: Tensor,
    total: Tensor,
    tile: Tensor,
    settings: Settings,
    needs: tuple[bool, bool],
) -> list[Tensor | None]:
    if int(torch.count_nonzero(upstream)) != upstream.shape[0]:
        stats = torch.stack(RowStatistics(logp, lse, target_logit, torch.zeros_like(lse), total))
        saved = Saved(stats, total.unsqueeze(0), tile if settings.mode == "one pass" else tile.view(-1))
        inputs = Inputs(hidden, weight, None, targets, None)
        made = passes.backward(Upstream(upstream, None, None), inputs, saved, Needs(*needs, False), settings)
        return [gradient if need else None for gradient, need in zip(made, needs, strict=False)]
    if settings.mode == "one pass":
        return [tile[: upstream.shape[0]] * upstream.unsqueeze(1), None]
    slope = settings.logit_scale / settings.temperature
    return _from_tile(upstream, hidden, weight, targets, logp, lse, total, tile, slope, needs)


def _from_tile(
    upstream: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    logp: Tensor,
    lse: Tensor,
    total: Tensor,
    tile: Tensor,
    slope: float,
    needs: tuple[bool, bool],
) -> list[Tensor | None]:
    """The gradients of hidden and weight from the tile that was kept; every row has a coefficient."""
    count, dtype = targets.shape[0], tile.dtype
    by_logp = upstream.double()
    # d logp / d z is -p off the target, and -expm1(log p) at it.
    by = ((total - lse).exp()[:count] * (by_logp * -slope)).to(dtype).unsqueeze(1)
    at_target = (torch.expm1(logp)[:count] * by_logp * -slope).to(dtype).unsqueeze(1)
    part = tile[:count]
    by_hidden = by_weight = None
    if needs[0]:
        by_hidden = torch.mm(part, weight).mul_(by).add_(weight.index_select(0, targets).mul_(at_target))
    if needs[1]:
        rows = hidden.contiguous()
        by_weight = torch.mm(part.t(), rows * by)
        by_weight.index_add_(0, targets, rows * at_target)
    return [by_hidden, by_weight]
