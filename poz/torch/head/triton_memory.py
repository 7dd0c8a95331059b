"""How much a pass on a GPU multiplies at a time, and the bytes that it takes."""

from __future__ import annotations

import math

from torch import Tensor

from poz.torch.head.tiles import ROW_QUANTUM, padded
from poz.torch.head.work import Size


def workspace(size: Size, block_rows: int) -> int:
    """The bytes of one pass: slabs of logits in float32 and in the head's dtype, a block of hidden states, statistics.

    A backward pass shares them out in another way, see `backward_shape`.
    """
    return _slabs(size.rows, size.weight, block_rows) + padded(size.rows) * 8 * 34


def _slabs(rows: int, weight: Tensor, block_rows: int) -> int:
    vocabulary, hidden_size = weight.shape
    block = min(block_rows, padded(rows))
    return block * (vocabulary * (4 + weight.element_size()) + 12 * hidden_size) + 4 * ROW_QUANTUM * hidden_size


def backward_shape(rows: int, weight: Tensor, block_rows: int) -> tuple[int, int]:
    """The rows and the columns of the vocabulary that a backward pass multiplies at a time.

    Each tile of logits adds to a float32 gradient of as many rows of hidden states and of as many rows of the head, so
    the nearer it is to a square the less is read and written; a whole gradient of the head in float32 never exists.
    """
    rows = max(rows, 1)
    (size, hidden_size), room = weight.shape, _slabs(rows, weight, block_rows)

    def columns(height: int) -> int:
        return (room - 12 * height * hidden_size) // (height * (4 + weight.element_size()) + 4 * hidden_size)

    height = min(padded(rows), padded(math.isqrt(block_rows * size)))
    while height > ROW_QUANTUM and columns(height) < min(size, height):
        height -= ROW_QUANTUM
    height = padded(_even(rows, height))
    widest = max(ROW_QUANTUM, columns(height) // ROW_QUANTUM * ROW_QUANTUM)
    return height, min(size, padded(_even(size, widest)))


def _even(size: int, most: int) -> int:
    return -(-size // -(-size // most))
