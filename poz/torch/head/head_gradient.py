"""The gradient of the head in a backward pass, one tile of the vocabulary after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from poz.torch.head.work import Into


class HeadGradient:
    """Sums over rows in the computing dtype: for the weight where it goes, or in a slab that is rounded into it once."""

    def __init__(self, into: Into, width: int, dtype: torch.dtype) -> None:
        self.into = into
        self._slab = self._bias = None
        if into.weight is not None and into.weight.dtype != dtype:
            self._slab = into.weight.new_empty((width, into.weight.shape[1]), dtype=dtype)
        if into.bias is not None:
            self._bias = torch.zeros(into.bias.shape, dtype=dtype, device=into.bias.device)

    def weight(self, start: int, stop: int) -> Tensor | None:
        """What the tile's first block of rows sets, unless all is added, and the others add to; None if not wanted."""
        if self.into.weight is None:
            return None
        return self.into.weight[start:stop] if self._slab is None else self._slab[: stop - start]

    def bias(self, start: int, stop: int) -> Tensor | None:
        """What blocks of rows add to, from 0; None if not wanted."""
        return None if self._bias is None else self._bias[start:stop]

    def round(self, start: int, stop: int) -> None:
        """Brings the tile's sums where they go."""
        if self.into.weight is not None and self._slab is not None:
            self.into.weight[start:stop].copy_(self._slab[: stop - start])

    def finish(self) -> None:
        """Brings the bias's sums where they go, after the last tile."""
        if self.into.bias is not None and self._bias is not None:
            self.into.bias.add_(self._bias) if self.into.add else self.into.bias.copy_(self._bias)


def nothing(into: Into) -> None:
    """Where no row has a coefficient."""
    for gradient in (into.weight, into.bias):
        if gradient is not None and not into.add:
            gradient.zero_()
