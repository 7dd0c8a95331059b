"""What the public functions on log-probabilities ask of the kinds of their arguments, whatever their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch._C import _functorch

INSTEAD = "torch operations on the logits, such as `torch.log_softmax(hidden @ weight.T, -1)`"


def has_values(tensor: Tensor) -> bool:
    """Whether its values can be asked for, unlike while torch.compile traces or torch.vmap batches."""
    return not torch.compiler.is_compiling() and not _functorch.is_functorch_wrapped_tensor(tensor)


def check_numbers(ignore_index: Any, **numbers: Any) -> None:
    """Refuses what is no Python number: a tensor would lose its gradient.

    Raises:
        TypeError: with a sentence.
    """
    integer = isinstance(ignore_index, int) and not isinstance(ignore_index, bool)
    if not integer or not -(2**63) <= ignore_index < 2**63:
        raise TypeError(
            f"`ignore_index` must be an integer that is no target; got {ignore_index!r}. Where no row is to be left out, keep "
            "-100."
        )
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise TypeError(
                f"`{name}` must be a Python number, which has no gradient; got {type(value).__name__}. Give float(...) of it; to "
                "learn it, leave it out and multiply `hidden` and `bias`, or the logits, by it."
            )


def check_kinds(function: str, tensors: dict[str, Any], sharded: tuple[str, ...] = ()) -> None:
    """Refuses what is no plain tensor, and transformations that would not see through.

    Args:
        function: name to say.
        tensors: arguments by name; the first and `targets` must have values; those that may be left out are None.
        sharded: names of those that may be a DTensor.

    Raises:
        TypeError, ValueError, RuntimeError: with a sentence.
    """
    for name, given in tensors.items():
        value: Any = given
        if isinstance(value, torch.nn.Module):
            raise TypeError(
                f"`{name}` must be a tensor; got the module {type(value).__name__}. Give its `.weight`, and its `.bias` "
                "as `bias`, or call poz.torch.LogpsHead of it."
            )
        if isinstance(value, np.ndarray):
            raise TypeError(
                f"`{name}` must be a torch tensor; got a NumPy array. Convert it with torch.from_numpy(...)."
            )
        if not isinstance(given, Tensor):
            raise TypeError(
                f"`{name}` must be a torch tensor; got {type(value).__name__}. Convert it with torch.tensor(...)."
            )
        if hasattr(value, "device_mesh") and name not in sharded:
            raise ValueError(
                f"`{name}` is a DTensor, {value.placements}. Give the rows of this process, `{name}.to_local()` where it is "
                "sharded over rows, or all of them, `.full_tensor()`."
            )
        if hasattr(value, "ds_id") and value.numel() == 0:
            raise ValueError(
                f"`{name}` is a parameter that ZeRO-3 keeps in parts, {tuple(value.ds_shape)} in all, not gathered here. Let "
                "the head be a poz.torch.LogpsHead and call that, whose hooks gather it for both passes; without gradients "
                "`with deepspeed.zero.GatheredParameters(...)` around the call is enough."
            )
        if torch.compiler.is_compiling():
            continue
        if value.layout != torch.strided:
            raise TypeError(f"`{name}` must be dense; got {value.layout}. Convert it with .to_dense().")
        _check_transformations(function, value)
    for name in (next(iter(tensors)), "targets"):
        if tensors[name].is_meta:
            raise ValueError(f"`{name}` is on the meta device and has no values. Move it to where they are.")


def _check_transformations(function: str, value: Tensor) -> None:
    unpack: Any = forward_ad.unpack_dual
    if unpack(value).tangent is not None:
        raise RuntimeError(f"poz.torch.{function} has no forward-mode derivative. Use {INSTEAD}.")
    while _functorch.is_functorch_wrapped_tensor(value):
        if _functorch.is_gradtrackingtensor(value):
            raise RuntimeError(
                f"The derivatives of torch.func (grad, vjp, jvp, jacrev, ...) do not pass through poz.torch.{function}. Use "
                f"torch.autograd.grad or .backward(), or {INSTEAD}."
            )
        if function != "linear_logps":
            raise RuntimeError(
                f"torch.vmap does not pass through poz.torch.{function}. Give the batch as leading dimensions."
            )
        value = _functorch.get_unwrapped(value)
