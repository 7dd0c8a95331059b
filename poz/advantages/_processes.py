"""A batch that is spread over processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poz.backends import Array, Namespace


def over(processes: Any, function: Callable[..., Array], *arrays: Array) -> Array:
    """What a function of arrays by completion gives for this process's, where it sees those of all processes."""
    if processes is None:
        return function(*arrays)
    torch = _torch(arrays[0])
    from poz.torch.whole_batch import gather_shares

    rank, world = torch.distributed.get_rank(processes), torch.distributed.get_world_size(processes)
    if rank < 0:
        raise ValueError("This process is not in the group that it was given; only its members share the batch.")
    said: list[Any] = [None] * world
    here = [(x.shape[0], tuple(x.shape[1:]), str(x.dtype)) for x in arrays]
    torch.distributed.all_gather_object(said, here, group=processes)
    for other, there in enumerate(said):
        if [x[1:] for x in there] != [x[1:] for x in said[0]]:
            raise ValueError(
                f"Processes that share a batch need arrays of one kind; got {said[0]} on process 0 and {there} on process "
                f"{other}, as (completions, other dimensions, dtype)."
            )
    sizes = [there[0][0] for there in said]
    whole = function(*(torch.cat(gather_shares(x, 0, sizes, rank, processes)) for x in arrays))
    before = sum(sizes[:rank])
    return whole[before : before + sizes[rank]]


def total(xp: Namespace, x: Array, processes: Any) -> Array:
    """The sum over everything, of all processes."""
    found = xp.sum(x)
    if processes is not None:
        _torch(found).distributed.all_reduce(found, group=processes)
    return found


def greatest(xp: Namespace, x: Array, processes: Any) -> Array:
    """The largest number, of all processes; -∞ of none."""
    flat = x.reshape(-1)
    found = xp.amax(flat, 0) if flat.shape[0] else xp.constant(-float("inf"), x)
    if processes is not None:
        torch = _torch(found)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX, group=processes)
    return found


def _torch(x: Any) -> Any:
    import torch

    if not isinstance(x, torch.Tensor):
        raise TypeError(f"Processes share a batch of torch tensors; got {type(x).__name__}.")
    return torch
