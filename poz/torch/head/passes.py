"""The forward and the backward pass over a head, whoever runs them: rows that take part, then one implementation."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz.torch.head.backward import Gradients
from poz.torch.head.settings import OUTPUTS, Settings
from poz.torch.head.tiles import Rows, Weights, compute_dtype, padded, vocabulary_tiles
from poz.torch.head.vocab_parallel import STATISTICS, find_group, reduce_over


class Implementation(NamedTuple):
    """One way through the head.

    Attributes:
        forward: fills what is kept and gives `Statistics`.
        backward: fills the gradients and gives that of the rows; None where there is none.
        exact_factors: whether factors of 16 bit are multiplied in float32.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any] | None
    exact_factors: bool


_MODULES = {"torch": "in_torch", "triton": "triton", "fused": "fused"}


def implementation_of(name: str) -> Implementation:
    """The functions of an implementation; its module is imported when it is used."""
    module = importlib.import_module(f"poz.torch.head.{_MODULES[name]}")
    return Implementation(module.forward_rows, getattr(module, "backward_rows", None), name == "torch")


def factor_dtype(hidden: Tensor, settings: Settings) -> torch.dtype:
    """The dtype of the matrix products' factors; only on a GPU are 16-bit ones multiplied into float32."""
    return compute_dtype(hidden) if settings.implementation == "torch" and not settings.fast else hidden.dtype


def taking_part(targets: Tensor, rows: Tensor | None, ignore_index: int) -> Tensor | None:
    """The index of rows that take part; None if all of them do."""
    if rows is not None:
        return rows
    valid = targets != ignore_index
    index = valid.nonzero().squeeze(1)
    return None if index.shape[0] == targets.shape[0] else index


def local_targets(targets: Tensor, index: Tensor | None, first: int) -> Tensor:
    """The targets of the rows that take part, relative to this shard, padded with -1."""
    chosen = targets if index is None else targets[index]
    local = chosen.new_full((padded(chosen.shape[0]),), -1)
    local[: chosen.shape[0]] = chosen - first
    return local


def check_rows(rows: Tensor, count: int) -> None:
    """Refuses an index of rows that are not there, or there twice."""
    if rows.numel() == 0:
        return
    least, most = int(rows.min()), int(rows.max())
    if least < 0 or most >= count:
        raise ValueError(f"`rows` must lie in [0, {count}), the flattened targets; got {least} to {most}.")
    counts = torch.bincount(rows)
    if int(counts.max()) > 1:
        raise ValueError(
            f"`rows` must name each row once; got {int(counts.argmax())} {int(counts.max())} times, whose gradients would be "
            "added up. Leave duplicates out with .unique()."
        )


def check_targets(targets: Tensor, vocabulary: int) -> None:
    """Refuses targets that are no tokens."""
    if targets.numel() and (int(targets.min()) < 0 or int(targets.max()) >= vocabulary):
        wrong = targets[(targets < 0) | (targets >= vocabulary)][0].item()
        raise ValueError(
            f"Targets must lie in [0, {vocabulary}), the vocabulary, or be `ignore_index`; got {wrong}. "
            "Mask what is to be left out with `ignore_index`."
        )


class Saved(NamedTuple):
    """What the backward pass is to find: (5, rows) and (tiles, rows) float64, and probabilities or gradients, flat."""

    stats: Tensor
    tile_lse: Tensor
    kept: Tensor


def allocate(hidden: Tensor, weight: Tensor, rows: Tensor | None, settings: Settings) -> Saved:
    """Allocates what the backward pass is to find."""
    mode, kept_dtype = settings.mode, factor_dtype(hidden, settings)
    count = padded(hidden.shape[0] if rows is None else rows.shape[0])
    saved = count if mode != "forward" else 0
    tiles = len(vocabulary_tiles(*weight.shape))
    kept_shape: tuple[int, ...] = (0,)
    if mode == "keep":
        kept_shape = (count * weight.shape[0],)
    elif mode == "one pass":
        kept_shape, kept_dtype = (count, hidden.shape[1]), compute_dtype(hidden)
    return Saved(
        hidden.new_empty((STATISTICS, saved), dtype=torch.float64),
        hidden.new_empty((tiles, saved), dtype=torch.float64),
        hidden.new_empty(kept_shape, dtype=kept_dtype),
    )


def forward(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rows: Tensor | None, settings: Settings
) -> tuple[Tensor, ...]:
    """The outputs of all rows, empty where not wanted, then `Saved`."""
    with torch.autocast(hidden.device.type, enabled=False):
        if settings.check and rows is not None:  # while a call is traced, they have no values
            check_rows(rows, targets.shape[0])
        index = taking_part(targets, rows, settings.ignore_index)
        local = local_targets(targets, index, settings.first)
        participants = Rows(hidden, index, settings.block_rows, factor_dtype(hidden, settings))
        count = participants.count
        if settings.check:
            check_targets(local[:count] + settings.first, settings.vocabulary)
        saved = allocate(hidden, weight, rows, settings)
        made = implementation_of(settings.implementation).forward(
            participants,
            Weights(weight, bias, participants.dtype),
            local,
            settings.head,
            settings.wanted,
            settings.mode,
            saved.kept,
            saved.tile_lse,
            find_group(settings.group),
            settings.vocabulary,
            settings.first,
            saved.stats,
        )
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
    upstream: tuple[Tensor | None, ...],
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    rows: Tensor | None,
    saved: Saved,
    settings: Settings,
    needs: tuple[bool, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of hidden, weight and bias; empty where not needed.

    Args:
        upstream: gradients of logps, lse and entropy, (tokens,) or None.
        hidden: (tokens, hidden size).
        weight: (tokens here, hidden size).
        bias: (tokens here,) or None.
        targets: (tokens,).
        rows: which take part, or None to find out.
        saved: by the forward pass.
        settings: of the forward pass.
        needs: whether hidden, weight and bias need theirs.
    """
    need_hidden, need_weight, need_bias = needs
    with torch.autocast(hidden.device.type, enabled=False):
        index = taking_part(targets, rows, settings.ignore_index)
        count = targets.shape[0] if index is None else index.shape[0]
        by = [None if g is None else (g if index is None else g[index]).double() for g in upstream]
        grad_weight, grad_bias = hidden.new_empty(0), hidden.new_empty(0)
        if need_weight:
            grad_weight = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
        if need_bias and bias is not None:
            grad_bias = torch.empty(bias.shape, dtype=bias.dtype, device=bias.device)
        only_logps = by[1] is None and by[2] is None
        if settings.mode == "one pass" and only_logps and not (need_weight or need_bias):
            grad_rows = _scaled(saved.kept, by[0], count)
        else:
            into = Gradients(
                hidden if need_hidden else None,
                grad_weight if need_weight else None,
                grad_bias if need_bias else None,
            )
            use_kept = settings.mode == "keep" and by[2] is None
            run = backward_of(settings.implementation)
            grad_rows = run(
                hidden,
                weight,
                bias,
                index,
                local_targets(targets, index, settings.first),
                count,
                settings.head,
                by,
                saved.stats,
                saved.tile_lse,
                saved.kept if use_kept else None,
                settings.block_rows,
                into,
            )
        if not need_hidden:
            return hidden.new_empty(0), grad_weight, grad_bias
        reduce_over(find_group(settings.group), grad_rows)
        if index is None:
            return grad_rows.to(hidden.dtype), grad_weight, grad_bias
        grad_hidden = torch.zeros(hidden.shape, dtype=hidden.dtype, device=hidden.device)
        return grad_hidden.index_copy_(0, index, grad_rows.to(hidden.dtype)), grad_weight, grad_bias


def backward_of(implementation: str) -> Callable[..., Tensor]:
    """The function that fills gradients; `fused` has none, and never gets here."""
    run = implementation_of(implementation).backward
    assert run is not None
    return run


def _scaled(kept: Tensor, by_logp: Tensor | None, count: int) -> Tensor:
    """d logp / d hidden times the coefficients; a row without one is 0, whatever it holds."""
    grad_rows = kept.new_zeros((count, kept.shape[1]))
    if by_logp is not None:
        torch.mul(kept[:count], by_logp.to(kept.dtype).unsqueeze(1), out=grad_rows)
        grad_rows.masked_fill_((by_logp == 0).unsqueeze(1), 0.0)
    return grad_rows
