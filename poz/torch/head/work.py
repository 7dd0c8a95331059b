"""One pass over a head: what it is given, where its gradients go, and what an implementation of it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from poz.torch.head.blocks import Rows, Weights
from poz.torch.head.settings import Inputs, Saved, Settings, Upstream
from poz.torch.head.statistics import Statistics
from poz.torch.head.tiles import compute_dtype, padded


class Work(NamedTuple):
    """What both passes are given.

    Attributes:
        rows: the rows that take part.
        weights: the head, or this process's shard of it.
        targets: (padded rows,) int64, local to this shard; anything outside it belongs to another.
        settings: of the call.
    """

    rows: Rows
    weights: Weights
    targets: Tensor
    settings: Settings


class Into(NamedTuple):
    """Where gradients go.

    Attributes:
        hidden: whether that of the rows is made, in the computing dtype.
        weight: filled with its own; or None.
        bias: likewise.
        add: whether those two are added to what is there; they must then be of the computing dtype.
    """

    hidden: bool
    weight: Tensor | None
    bias: Tensor | None
    add: bool = False


class Size(NamedTuple):
    """What the bytes of a pass depend on.

    Attributes:
        rows: that take part.
        weight: (vocabulary of the largest shard, hidden size); its values are not read.
        capped: whether logits have a soft cap.
        outputs: names.
        fast: whether 16-bit inputs give 16-bit logits.
    """

    rows: int
    weight: Tensor
    capped: bool
    outputs: frozenset[str]
    fast: bool


class Implementation(NamedTuple):
    """One way through the head.

    Attributes:
        forward: fills what is kept and gives the statistics of the rows.
        backward: fills the gradients and gives that of the rows, empty where it is not made; None where there is none.
        workspace: the bytes that a pass takes which multiplies so many rows at a time.
        most_rows: more at a time are of no use.
        exact_factors: whether factors of 16 bit are multiplied in float32; a GPU adds up their products in it.
    """

    forward: Callable[[Work, Saved], Statistics]
    backward: Callable[[Work, Saved, Upstream, Into], Tensor] | None
    workspace: Callable[[Size, int], int]
    most_rows: int
    exact_factors: bool

    def factor_dtype(self, hidden: Tensor, fast: bool) -> torch.dtype:
        """The dtype of the matrix products' factors, in which probabilities are kept."""
        return compute_dtype(hidden) if self.exact_factors and not fast else hidden.dtype


def taking_part(targets: Tensor, rows: Tensor | None, ignore_index: int) -> Tensor | None:
    """The index of rows that take part; None if all of them do."""
    if rows is not None:
        return rows
    valid = targets != ignore_index
    index = valid.nonzero().squeeze(1)
    return None if index.shape[0] == targets.shape[0] else index


def work_on(inputs: Inputs, index: Tensor | None, settings: Settings, factor_dtype: torch.dtype) -> Work:
    """The work on the rows of that index; None for all."""
    hidden, weight, bias, targets, _ = inputs
    chosen = targets if index is None else targets[index]
    local = chosen.new_full((padded(chosen.shape[0]),), -1)
    local[: chosen.shape[0]] = chosen - settings.first
    rows = Rows(hidden, index, settings.block_rows, factor_dtype)
    return Work(rows, Weights(weight, bias, factor_dtype), local, settings)
