"""torch primitives; see `poz.backends`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812

Tensor = torch.Tensor

name = "torch"

exp, log, expm1, log1p, arctan, sigmoid, log_sigmoid, relu, where, ones_like, stop_gradient = (
    torch.exp,
    torch.log,
    torch.expm1,
    torch.log1p,
    torch.arctan,
    torch.sigmoid,
    F.logsigmoid,
    torch.relu,
    torch.where,
    torch.ones_like,
    torch.Tensor.detach,
)

_PLAIN = (Tensor, torch.nn.Parameter)
_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
_KINDS = {
    torch.float32: "real",
    torch.float64: "real",
    torch.bool: "bool",
    torch.int8: "integer",
    torch.int16: "integer",
    torch.int32: "integer",
    torch.int64: "integer",
    torch.uint8: "integer",
}


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)); unlike `F.softplus`, exact beyond 20 too."""
    return -F.logsigmoid(-x)


def maximum(x: Tensor, least: float) -> Tensor:
    """max(x, least)."""
    return torch.where(x <= least, least, x)  # torch.clamp has slope 1 at the kink


def minimum(x: Tensor, most: float) -> Tensor:
    """min(x, most)."""
    return torch.where(x >= most, most, x)


def clip(x: Tensor, low: float, high: float) -> Tensor:
    """x held within [low, high]."""
    return minimum(maximum(x, low), high)


def sum(x: Tensor, axis: int | None = None) -> Tensor:  # noqa: A001
    """Sum over one axis, or over all."""
    return torch.sum(x) if axis is None else torch.sum(x, dim=axis)


def mean(x: Tensor) -> Tensor:
    """Mean over everything."""
    return torch.mean(x)


def amax(x: Tensor, axis: int) -> Tensor:
    """Largest value along an axis."""
    return torch.amax(x, dim=axis)


def logsumexp(x: Tensor, axis: int) -> Tensor:
    """Log-sum-exp along an axis that has at least one entry above -inf."""
    return torch.logsumexp(x, dim=axis)


def cumsum(x: Tensor, axis: int) -> Tensor:
    """Running sum along an axis."""
    return torch.cumsum(x, dim=axis)


def argsort(x: Tensor) -> Tensor:
    """Order of the last axis, ascending; equal entries stay in order."""
    return torch.argsort(x, dim=-1, stable=True)


def whole(x: Tensor) -> Tensor:
    """The same array: here it is whole already."""
    return x


def concatenate(parts: Sequence[Tensor], axis: int) -> Tensor:
    """Join along an axis."""
    return torch.cat(list(parts), dim=axis)


def gather(table: Tensor, index: Tensor) -> Tensor:
    """`table[index]` along the first axis."""
    return table[index.long()]


def segment_sum(x: Tensor, index: Tensor, size: int) -> Tensor:
    """Sums of the entries with the same index."""
    return x.new_zeros(size, *x.shape[1:]).index_add(0, index.long(), x)


def constant(value: npt.ArrayLike, like: Tensor) -> Tensor:
    """`value` in the dtype and on the device of `like`."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def astype(x: Tensor, like: Tensor) -> Tensor:
    """`x` in the dtype of `like`."""
    return x.to(like.dtype)


def integers(x: Tensor) -> Tensor:
    """`x` in 64 bit."""
    return x.long()


def is_array(x: object) -> bool:
    """Tensors, subclasses among them."""
    return isinstance(x, Tensor)


def kind(x: Tensor) -> str:
    """See `poz.backends.Namespace.kind`."""
    found = _KINDS.get(x.dtype)
    if found is not None:
        return found
    return "half" if x.dtype.is_floating_point else "other"


def widen(x: Tensor) -> Tensor:
    """A 16-bit tensor in 32 bit."""
    return x.float()


def device(x: Tensor) -> object:
    """The device, on which all fields of a batch must be."""
    return x.device


def readable(x: Tensor) -> bool:
    """Whether it is a plain CPU tensor: a read of a GPU's would wait for it, and while compiling there is none."""
    return not torch.compiler.is_compiling() and x.is_cpu and type(x) in _PLAIN and not _wrapped(x)


def values(x: Tensor) -> npt.NDArray[Any] | None:
    """The values of a plain CPU tensor; None on a GPU and while compiling."""
    return x.detach().numpy() if readable(x) else None
