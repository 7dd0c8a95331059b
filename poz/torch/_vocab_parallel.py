"""A head sharded over the vocabulary: three numbers per token cross the ranks, the weight never does."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from poz.torch._linear_tiles import LOWEST, Partials


class Statistics(NamedTuple):
    """Per-row results over the whole vocabulary, float64 (rows,); what was not asked for is None."""

    logp: Tensor
    lse: Tensor
    target_logit: Tensor
    entropy: Tensor | None
    log_square: Tensor | None
    mean_logit: Tensor | None
    top1: Tensor | None


def find_group(name: str) -> Any:
    """Return the process group of that name; None for the empty one."""
    resolve: Any = vars(dist.distributed_c10d)["_resolve_process_group"]
    return resolve(name) if name else None


def reduce_over(group: Any, tensor: Tensor, largest: bool = False) -> Tensor:
    """All-reduce in place over the group, if there is one."""
    if group is not None:
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX if largest else dist.ReduceOp.SUM, group=group)
    return tensor


def join(part: Partials, group: Any, vocabulary: int, first: int) -> Statistics:
    """Join the shards' statistics (one maximum and one sum are reduced; extra outputs add one sum, and top-1 two more).

    Args:
        part: this shard's statistics.
        group: process group, or None when this shard is the whole vocabulary.
        vocabulary: tokens over all shards.
        first: number of this shard's first token.
    """
    target_logit = part.target_logit
    others = part.others
    lse_parts = part.total
    if group is not None:
        top = reduce_over(group, others.clone(), largest=True).clamp(min=LOWEST)
        packed = torch.stack([(others - top).exp(), target_logit.where(part.owned, torch.zeros_like(others))])
        reduce_over(group, packed)
        others, target_logit = top + packed[0].log(), packed[1]
    behind = others - target_logit
    logp = -torch.logaddexp(behind, torch.zeros_like(behind))
    lse = torch.logaddexp(others, target_logit)
    share = (lse_parts - lse).exp()
    rows = []
    if part.mean_energy is not None:
        rows.append(part.mean_energy * share if group is not None else part.mean_energy)
    if part.log_square is not None:
        rows.append((part.log_square - 2 * lse).exp())
    if part.logit_sum is not None:
        rows.append(part.logit_sum / vocabulary)
    if rows:
        rows = list(reduce_over(group, torch.stack(rows)))
    top1 = None
    if part.best is not None and part.best_index is not None:
        top1 = part.best_index + first
        if group is not None:
            best = reduce_over(group, part.best.clone(), largest=True)
            candidate = torch.where(part.best == best, -top1, torch.full_like(top1, -vocabulary))
            top1 = -reduce_over(group, candidate, largest=True)
    entropy = lse - rows.pop(0) if part.mean_energy is not None else None
    log_square = rows.pop(0).log() if part.log_square is not None else None
    mean_logit = rows.pop(0) if part.logit_sum is not None else None
    return Statistics(logp, lse, target_logit, entropy, log_square, mean_logit, top1)


class Shard(NamedTuple):
    """This process's part of a head.

    Attributes:
        weight: (tokens here, hidden size).
        group: name of the process group, "" for none.
        first: number of its first token.
        vocabulary: tokens over all shards.
        largest: tokens of the largest shard, by which all processes plan alike.
    """

    weight: Tensor
    group: str
    first: int
    vocabulary: int
    largest: int


def shard_of(weight: Any, group: Any) -> Shard:
    """Return the local shard and where it lies.

    A DTensor sharded on dimension 0 brings its own group and size. Plain shards may differ in size: the sizes are gathered,
    which costs a host synchronisation on an accelerator.

    Raises:
        ValueError: the DTensor is laid out otherwise, shards disagree in width, or they do not add up to the vocabulary.
    """
    expected = None
    if hasattr(weight, "device_mesh"):
        placements = weight.placements
        if weight.device_mesh.ndim != 1 or len(placements) != 1 or not placements[0].is_shard(0):
            raise ValueError(
                f"A DTensor head must be sharded on dimension 0 (the vocabulary) of a one-dimensional mesh; got {placements}. "
                "Redistribute it to [Shard(0)]."
            )
        mesh_group = weight.device_mesh.get_group()
        if group is not None and group.group_name != mesh_group.group_name:
            raise ValueError("`group` and the DTensor's own process group differ; give one of them.")
        expected, group, weight = weight.shape[0], mesh_group, weight.to_local()
    if group is None:
        return Shard(weight, "", 0, weight.shape[0], weight.shape[0])
    mine = torch.tensor([weight.shape[0], weight.shape[1]], device=weight.device)
    sizes = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(sizes, mine, group=group)
    shards = torch.stack(sizes).tolist()
    if len({width for _, width in shards}) > 1:
        raise ValueError(f"All shards of the head must have one hidden size; got {[width for _, width in shards]}.")
    rank, total = dist.get_rank(group), sum(size for size, _ in shards)
    if expected is not None and total != expected:
        raise ValueError(
            f"The shards have {[size for size, _ in shards]} tokens, {total} in all, but the head has {expected}."
        )
    first, largest = sum(size for size, _ in shards[:rank]), max(size for size, _ in shards)
    return Shard(weight, str(group.group_name), first, total, largest)


def shard_of_bias(bias: Any) -> Tensor | None:
    """Return the local part of a bias laid out as its head, its numbers side by side."""
    local: Tensor | None = bias.to_local() if hasattr(bias, "device_mesh") else bias
    return None if local is None else local.contiguous()
