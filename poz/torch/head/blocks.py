"""What a pass reads, a block of rows or a tile of the head at a time, and where it writes tiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from poz.torch.head.tiles import padded, vocabulary_tiles


class Rows:
    """The rows that take part, in blocks padded with zero rows, in the dtype they are multiplied in."""

    def __init__(self, hidden: Tensor, index: Tensor | None, block_rows: int, dtype: torch.dtype) -> None:
        self.hidden, self.index, self.dtype = hidden, index, dtype
        self.count = hidden.shape[0] if index is None else index.shape[0]
        self.block_rows = block_rows
        self._whole = index is None and hidden.dtype == dtype and hidden.is_contiguous()
        self._buffer: Tensor | None = None
        self._held = -1

    def blocks(self) -> list[tuple[int, int]]:
        """The (first, last + 1) of each block."""
        return [(low, min(low + self.block_rows, self.count)) for low in range(0, self.count, self.block_rows)]

    def block(self, low: int, high: int) -> Tensor:
        """Rows low to high as (padded rows, hidden size); a view where nothing has to be moved."""
        size = padded(high - low)
        if self._whole and size == high - low:
            return self.hidden[low:high]
        if self._buffer is None:
            shape = (min(self.block_rows, padded(self.count)), self.hidden.shape[1])
            self._buffer = torch.empty(shape, dtype=self.dtype, device=self.hidden.device)
        if self._held != low:
            source = self.hidden[low:high] if self.index is None else self.hidden[self.index[low:high]]
            self._buffer[: high - low].copy_(source)
            self._buffer[high - low : size].zero_()
            self._held = low
        return self._buffer[:size]


class Tile(NamedTuple):
    """The tokens from `start` to `stop`: weight (width, hidden size) and bias (width,) or None."""

    number: int
    start: int
    stop: int
    weight: Tensor
    bias: Tensor | None


class Weights:
    """Tiles of the head in the dtype they are multiplied in, converted into one reused slab where they must be."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight, self.bias, self.dtype = weight, bias, dtype
        self.tiles = vocabulary_tiles(*weight.shape)
        self._buffer: Tensor | None = None

    def __iter__(self) -> Iterator[Tile]:
        for number, (start, stop) in enumerate(self.tiles):
            weight = self.weight[start:stop]
            if weight.dtype != self.dtype:
                if self._buffer is None:
                    self._buffer = weight.new_empty((self.tiles[0][1], weight.shape[1]), dtype=self.dtype)
                weight = self._buffer[: stop - start].copy_(weight)
            yield Tile(number, start, stop, weight, None if self.bias is None else self.bias[start:stop])


class Slab:
    """One allocation that every tile is a contiguous view of."""

    def __init__(self, rows: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self.flat = torch.empty(rows * width, dtype=dtype, device=device)

    def view(self, rows: int, width: int) -> Tensor:
        """The first rows * width numbers as a matrix."""
        return self.flat[: rows * width].view(rows, width)
