"""Sums over processes that each hold a part of every sequence."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from poz.backends import namespace

GRADIENTS = ("summed", "averaged")


def sum_over(group: Any, logps: Tensor, *others: Tensor, gradients: str) -> Any:
    """Sums over the processes of a group, each of which holds a part of the tokens of every sequence.

        sums, lengths = sum_over(group, (logps * mask).sum(-1), mask.sum(-1), gradients="averaged")  # (batch,), on all of them

    What follows, the loss included, is computed alike on each of the processes. `gradients` says what the engine does
    afterwards with their gradients of one parameter, for that decides what each has to hand back:

    * "summed": each gives the part of the gradient that comes by its own tokens. Engines that all-reduce sums over the
      context, as Megatron does, and loops without an engine that add up.
    * "averaged": the same times the number of processes. Engines that average over all processes, as
      DistributedDataParallel, FSDP2 and ZeRO do with a context among them.

    Should the processes go on differently, the gradient is that of the mean of their losses.

    Args:
        group: The processes that share the sequences; None for all.
        logps: Any shape, the same on all; the sums over this process's tokens, with 0 for what has none here.
        *others: More of them, such as counts of tokens; integers and booleans are summed in int64, 16 bit in float32.
        gradients: "summed" or "averaged".

    Returns:
        The sum, or a tuple of sums where there are several.

    Raises:
        TypeError: Something is no tensor, or a DTensor.
        ValueError: Another word for `gradients`; a process that is not in the group; on all processes, those of one differ
            from the others' in number, shape or dtype, or in whether they need a gradient.
        RuntimeError: While torch.compile traces a whole graph; torch.distributed is not running.
    """
    if torch.compiler.is_compiling():
        raise RuntimeError("sum_over waits for the other processes; leave fullgraph=True out.")
    if not dist.is_available() or not dist.is_initialized():
        raise RuntimeError("sum_over needs torch.distributed; one process alone has the sums already.")
    if dist.get_rank(group) < 0:
        raise ValueError("This process is not in the group that it was given; only its members share the sequences.")
    parts, problem = (logps, *others), None
    try:
        if gradients not in GRADIENTS:
            raise ValueError(
                f"gradients must be 'summed' or 'averaged', what the engine does with them; got {gradients!r:.80}."
            )
        for part in parts:
            if not isinstance(part, Tensor):
                raise TypeError(f"sum_over needs tensors; got {type(part).__name__}. torch.as_tensor makes one.")
            namespace(part)  # which refuses a DTensor
    except (TypeError, ValueError) as raised:  # the others must hear of it
        problem = raised
    _check_alike(parts, gradients, problem, group)
    factor = dist.get_world_size(group) if gradients == "averaged" else 1
    apply: Any = _Summed.apply
    sums = tuple(apply(_wide(part), group, factor) for part in parts)
    return sums if others else sums[0]


def _check_alike(parts: tuple[Any, ...], gradients: str, problem: Exception | None, group: Any) -> None:
    mine = f"{type(problem).__name__}: {problem}" if problem else ", ".join(map(_described, parts)) + f", {gradients}"
    told: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(told, (problem is not None, mine), group=group)
    if problem is not None:
        raise problem
    for rank, (refused, said) in enumerate(told):
        if refused:
            raise ValueError(f"Process {rank} of the group refuses what it is given. {said}")
        if said != told[0][1]:
            raise ValueError(
                f"Processes that share sequences need sums alike; got {told[0][1]} on process 0 and {said} on {rank}."
            )


def _described(part: Tensor) -> str:
    needs = " with a gradient" * (part.requires_grad and torch.is_grad_enabled())
    return f"{str(part.dtype).removeprefix('torch.')} {tuple(part.shape)}{needs}"


def _wide(part: Tensor) -> Tensor:
    if not part.is_floating_point():
        return part.long()
    return part if part.dtype == torch.float64 else part.float()


class _Summed(torch.autograd.Function):
    """An all-reduce whose gradient is the mean of the processes' gradients, times what their reduction takes away."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: Any, factor: int) -> Tensor:
        ctx.group, ctx.factor = group, factor
        total = part.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        total = upstream.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total * (ctx.factor / dist.get_world_size(ctx.group)), None, None
