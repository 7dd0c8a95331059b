"""Numbers of each row, float64: of one shard of the vocabulary, of all of it, and what the backward pass reads of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Partials(NamedTuple):
    """Per-row statistics of one vocabulary shard, float64 (rows,); the ones not asked for are None."""

    others: Tensor
    target_logit: Tensor
    owned: Tensor
    total: Tensor
    mean_energy: Tensor | None
    log_square: Tensor | None
    logit_sum: Tensor | None
    best: Tensor | None
    best_index: Tensor | None


class Statistics(NamedTuple):
    """Per-row results over the whole vocabulary, float64 (rows,); what was not asked for is None."""

    logp: Tensor
    lse: Tensor
    target_logit: Tensor
    entropy: Tensor | None
    log_square: Tensor | None
    mean_logit: Tensor | None
    top1: Tensor | None


class RowStatistics(NamedTuple):
    """The rows of `Saved.stats`: statistics over all shards, and this one's log-sum-exp."""

    logp: Tensor
    lse: Tensor
    target_logit: Tensor
    entropy: Tensor
    total: Tensor


def remember(stats: Tensor, joined: Statistics, total: Tensor) -> None:
    """Fills (5, rows) of what the backward pass reads; the entropy only if it is there."""
    for name, row in zip(RowStatistics._fields, stats, strict=True):
        values = total if name == "total" else getattr(joined, name)
        if values is not None:
            row.copy_(values)


def stacked(parts: list[Statistics], like: Tensor) -> Statistics:
    """Joins the statistics of chunks of rows, which may be none."""
    if not parts:
        return Statistics(*(like.new_empty(0, dtype=torch.float64),) * len(Statistics._fields))
    rows: Any = (None if values[0] is None else torch.cat(values) for values in zip(*parts, strict=True))
    return Statistics(*rows)
