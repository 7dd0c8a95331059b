"""The few primitives an objective may use, once per array library.

An objective is written against `xp`, one of the modules of this package, chosen by the type of the arrays it is
given. A library that was not imported by the caller is never imported here.

The derivatives count as much as the values: `softplus` has slope 1/2 at 0, `relu` has slope 0 at 0, as `maximum`, `minimum`
and `clip` at their edges, and none of them overflows. Operators (`+ - * / @`, comparisons, indexing) are the library's own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any
"""A NumPy array, a torch tensor or a JAX array."""


class Namespace(Protocol):
    """What every backend module offers; `axis=-1` is the last axis."""

    name: str

    def exp(self, x: Array) -> Array: ...  # noqa: D102
    def log(self, x: Array) -> Array: ...  # noqa: D102
    def expm1(self, x: Array) -> Array: ...  # noqa: D102
    def log1p(self, x: Array) -> Array: ...  # noqa: D102
    def arctan(self, x: Array) -> Array: ...  # noqa: D102
    def sigmoid(self, x: Array) -> Array: ...  # noqa: D102
    def log_sigmoid(self, x: Array) -> Array: ...  # noqa: D102
    def softplus(self, x: Array) -> Array: ...  # noqa: D102
    def relu(self, x: Array) -> Array: ...  # noqa: D102
    def where(self, condition: Array, x: Array, y: Array) -> Array: ...  # noqa: D102
    def maximum(self, x: Array, least: float) -> Array: ...  # noqa: D102
    def minimum(self, x: Array, most: float) -> Array: ...  # noqa: D102
    def clip(self, x: Array, low: float, high: float) -> Array: ...  # noqa: D102
    def sum(self, x: Array, axis: int | None = None) -> Array: ...  # noqa: D102
    def mean(self, x: Array) -> Array: ...  # noqa: D102
    def amax(self, x: Array, axis: int) -> Array: ...  # noqa: D102
    def logsumexp(self, x: Array, axis: int) -> Array: ...  # noqa: D102
    def cumsum(self, x: Array, axis: int) -> Array: ...  # noqa: D102
    def argsort(self, x: Array) -> Array:
        """Order of the last axis, ascending; equal entries stay in order."""

    def whole(self, x: Array) -> Array:
        """`x`, all of it on each device, where each entry of a batch meets all others."""

    def stop_gradient(self, x: Array) -> Array: ...  # noqa: D102
    def ones_like(self, x: Array) -> Array: ...  # noqa: D102
    def concatenate(self, parts: Sequence[Array], axis: int) -> Array: ...  # noqa: D102
    def gather(self, table: Array, index: Array) -> Array:
        """`table[index]` along the first axis, for integer `index` of any shape."""

    def segment_sum(self, x: Array, index: Array, size: int) -> Array:
        """Sums along the first axis of the entries with the same `index`, an integer from 0 below `size` for each."""

    def constant(self, value: npt.ArrayLike, like: Array) -> Array:
        """`value` as an array of the dtype and device of `like`."""

    def astype(self, x: Array, like: Array) -> Array:
        """`x` (integer, boolean or real) in the dtype of `like`."""

    def integers(self, x: Array) -> Array:
        """`x` (integer or boolean) in the widest signed integers."""

    def is_array(self, x: object) -> bool:
        """Whether `x` is an array of this library."""

    def kind(self, x: Array) -> str:
        """One of "real", "half" (16 bit or less), "integer", "bool", "other"."""

    def widen(self, x: Array) -> Array:
        """A 16-bit array in 32 bit."""

    def device(self, x: Array) -> object:
        """Where `x` lives; None where that cannot differ or is not known."""

    def readable(self, x: Array) -> bool:
        """Whether the values can be read without a transfer and without tracing."""

    def values(self, x: Array) -> npt.NDArray[Any] | None:
        """The values, where reading them costs no transfer and no tracing; None otherwise."""


_NUMPY = (np.ndarray, np.generic)


def namespace(x: object) -> Namespace:
    """The backend of an array, found by its type.

    Raises:
        TypeError: If `x` is no array of NumPy, torch or JAX, or a DTensor.
    """
    # No cache, no union types and no import_module: torch.compile has to trace this.
    module: Any = None
    if "torch" in sys.modules and isinstance(x, sys.modules["torch"].Tensor):
        if hasattr(x, "device_mesh"):
            raise TypeError(
                f"A DTensor, {x.placements}, has a part of its values, or of a sum, on each process. Give the examples of this "
                "process, .to_local() where it is sharded over them (poz.torch.whole_batch serves objectives that tie a batch "
                "together), or all of them, .full_tensor()."
            )
        import poz.backends.torch as module
    elif isinstance(x, _NUMPY):
        import poz.backends.numpy as module
    elif "jax" in sys.modules and isinstance(x, sys.modules["jax"].Array):
        import poz.backends.jax as module
    else:
        raise TypeError(
            f"An array of NumPy, torch or JAX is needed; got {type(x).__name__}. "
            "Wrap plain numbers in numpy.asarray(...)."
        )
    return module  # type: ignore[no-any-return]


__all__ = ["Array", "Namespace", "namespace"]
