"""A head sharded over the vocabulary: three numbers per token cross the ranks, the weight never does."""

from __future__ import annotations

import zlib
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


def shard_of(weight: Any, group: Any, targets: Tensor, rows: Tensor | None, alike: tuple[Any, ...]) -> Shard:
    """Return the local shard and where it lies, once all processes of the group are seen to ask for the same.

    Shards may differ in size: the sizes are gathered, which costs a host synchronisation on an accelerator.

    Args:
        weight: this process's part, or a DTensor sharded on dimension 0 over `group`.
        group: process group, or None when this is the whole vocabulary.
        targets: (tokens,), which all processes must have alike.
        rows: which of them take part, None if all do; likewise.
        alike: what else must be.

    Raises:
        ValueError: on all processes; they differ in what they are given, shards disagree in width, or they do not add up to
            the vocabulary.
    """
    expected = weight.shape[0] if hasattr(weight, "device_mesh") else None
    weight = local_part("weight", weight, group)
    if group is None:
        return Shard(weight, "", 0, weight.shape[0], weight.shape[0])
    count = len(targets if rows is None else rows)
    marks = [_checksum(targets, rows), zlib.crc32(repr(alike).encode())]
    mine = torch.tensor([*weight.shape, count, *marks], device=weight.device)
    gathered = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(gathered, mine, group=group)
    sizes, widths, *same = torch.stack(gathered).t().tolist()
    for what, values in zip(("rows that take part", "targets and ignored rows", "other arguments"), same, strict=True):
        if len(set(values)) > 1:
            raise ValueError(
                "`group` says that its processes share their rows and that each holds a part of the vocabulary, so all must be "
                f"given the same {what}; theirs differ{f': {values}' if values is same[0] else ''}. Where each has rows of its "
                "own, leave `group` out and let the head be a poz.torch.LogpsHead."
            )
    if len(set(widths)) > 1:
        raise ValueError(f"All shards of the head must have one hidden size; got {widths}.")
    rank, total = dist.get_rank(group), sum(sizes)
    if expected is not None and total != expected:
        raise ValueError(f"The shards have {sizes} tokens, {total} in all, but the head has {expected}.")
    return Shard(weight, str(group.group_name), sum(sizes[:rank]), total, max(sizes))


def _checksum(*columns: Tensor | None) -> int:
    """Return a number that other integers, or the same in another order, hardly ever have."""
    mark = 0
    for column in columns:
        if column is not None:
            weights = torch.arange(1, 2 * len(column), 2, device=column.device) * 0x5851F42D4C957F2D  # modulo 2^64
            mark = mark * 31 + int((column.long() * (weights ^ weights >> 29)).sum())
    return (mark + 2**63) % 2**64 - 2**63


def local_part(name: str, tensor: Any, group: Any) -> Any:
    """Return this process's part of a head's weight or bias.

    Raises:
        ValueError: it is a DTensor, and nothing says that the processes share their rows, or it is laid out otherwise.
    """
    if not hasattr(tensor, "device_mesh"):
        return tensor
    mesh, placements = tensor.device_mesh, tensor.placements
    if group is None:
        raise ValueError(
            f"`{name}` is a DTensor, {placements}, whose layout does not say whether the processes share their rows. Where each "
            "has rows of its own (FSDP), let the head be a poz.torch.LogpsHead, shard that and call it, or call head.unshard() "
            "before, which is enough without gradients. Where all have the same rows, and the vocabulary is sharded, give the "
            "process group as `group=`."
        )
    if mesh.ndim != 1 or not placements[0].is_shard(0):
        raise ValueError(
            f"A DTensor head must be sharded on dimension 0 (the vocabulary) of a one-dimensional mesh; `{name}` is "
            f"{placements}. Redistribute it to [Shard(0)]."
        )
    if group.group_name != mesh.get_group().group_name:
        raise ValueError(
            f"`group` and the process group of `{name}`, a DTensor, differ; give that one, or a local tensor."
        )
    return tensor.to_local()
