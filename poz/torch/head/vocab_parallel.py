"""A head sharded over the vocabulary: three numbers per token cross the ranks, the weight never does."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from poz.torch.head.settings import Settings
from poz.torch.head.statistics import Partials, Statistics
from poz.torch.head.tiles import LOWEST

REFUSED = -1


def find_group(name: str) -> Any:
    """The process group of that name; None for the empty one."""
    resolve: Any = vars(dist.distributed_c10d)["_resolve_process_group"]
    return resolve(name) if name else None


def reduce_over(group: Any, tensor: Tensor, largest: bool = False) -> Tensor:
    """All-reduce in place over the group, if there is one."""
    if group is not None:
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX if largest else dist.ReduceOp.SUM, group=group)
    return tensor


def join(part: Partials, settings: Settings) -> Statistics:
    """Joins the shards' statistics (one maximum and one sum are reduced; extra outputs add one sum, and top-1 two more)."""
    group, vocabulary, first = find_group(settings.group), settings.vocabulary, settings.first
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


def heard_by_all(group: Any) -> AbstractContextManager[None]:
    """A context: what this process refuses in it, the others refuse in `shard_of`, where they would wait for it.

    Raises:
        TypeError: `group` is no group that this process belongs to.
        RuntimeError: while torch.compile traces, which cannot ask the others.
    """
    if group is None:
        return nullcontext()
    _refuse_tracing()
    if not isinstance(group, dist.ProcessGroup):
        raise TypeError(
            f"`group` must be a process group that this process belongs to, such as mesh.get_group('tp'); got {group!r:.80}."
        )
    return _heard_by_all(group)


@contextmanager
def _heard_by_all(group: Any) -> Iterator[None]:
    try:
        yield
    except Exception:
        _told(group, [REFUSED] * 6)
        raise


def shard_of(weight: Tensor, group: Any, vocabulary: int, targets: Tensor, rows: Tensor | None, alike: Any) -> Shard:
    """Where this process's part lies, once all processes of the group are seen to ask for the same.

    Shards may differ in size: the sizes are gathered, which costs a host synchronisation on an accelerator.

    Args:
        weight: this process's part.
        group: process group, or None when this is the whole vocabulary.
        vocabulary: tokens over all shards, if that is known, or 0.
        targets: (tokens,), which all processes must have alike.
        rows: which of them take part, None if all do; likewise.
        alike: what else must be.

    Raises:
        ValueError: on all processes; one refuses what it is given, they differ in it, shards disagree in width, are one
            shard on all of them, or do not add up to the vocabulary.
    """
    if group is None:
        return Shard(weight, "", 0, weight.shape[0], weight.shape[0])
    _refuse_tracing()  # here and below: each frame is traced anew after the graph broke
    count = len(targets if rows is None else rows)
    mine = [*weight.shape, _mark(weight), count, _checksum(targets, rows), zlib.crc32(repr(alike).encode())]
    sizes, widths, marks, *same = zip(*_told(group, mine), strict=True)
    if REFUSED in sizes:
        raise ValueError(
            f"Process {sizes.index(REFUSED)} of `group` refuses what it is given, and says why; no other can go on without it."
        )
    for what, values in zip(("rows that take part", "targets and ignored rows", "other arguments"), same, strict=True):
        if len(set(values)) > 1:
            raise ValueError(
                "`group` says that its processes share their rows and that each holds a part of the vocabulary, so all must be "
                f"given the same {what}; theirs differ{f': {list(values)}' if values is same[0] else ''}. Where each has rows of "
                "its own, leave `group` out and let the head be a poz.torch.LogpsHead."
            )
    if len(set(widths)) > 1:
        raise ValueError(f"All shards of the head must have one hidden size; got {list(widths)}.")
    if len(marks) > 1 and len(set(sizes)) == len(set(marks)) == 1 and marks[0]:
        raise ValueError(
            f"With `group` each process holds a part of the vocabulary, and all of them hold the same {sizes[0]} tokens. Give "
            "each its part, weight[first:last], or leave `group` out where each has the whole head."
        )
    rank, total = dist.get_rank(group), sum(sizes)
    if vocabulary and total != vocabulary:
        raise ValueError(f"The shards have {list(sizes)} tokens, {total} in all, but the head has {vocabulary}.")
    return Shard(weight, str(group.group_name), sum(sizes[:rank]), total, max(sizes))


def _refuse_tracing() -> None:
    if torch.compiler.is_compiling():
        raise RuntimeError(
            "`group` does not go through torch.compile, as the sizes of the shards are asked for. Call linear_logps outside the "
            "compiled function, or leave fullgraph=True out, which then breaks the graph there."
        )


def _told(group: Any, mine: list[int]) -> list[list[int]]:
    """The numbers of all processes, which each tells once in a call."""
    _refuse_tracing()
    device_of: Any = vars(dist.distributed_c10d)["_get_object_coll_device"]  # of the group, whatever was given
    told = torch.tensor(mine, device=device_of(group))
    gathered = [torch.empty_like(told) for _ in range(dist.get_world_size(group))]
    dist.all_gather(gathered, told, group=group)
    return [[int(number) for number in numbers] for numbers in torch.stack(gathered).tolist()]


def _mark(weight: Tensor) -> int:
    """A number that other shards hardly ever have; 0 where what it is made of is all alike, which says nothing."""
    numbers = weight.detach()[0, :16].tolist()
    return zlib.crc32(repr(numbers).encode()) if len(set(numbers)) > 1 else 0


def _checksum(*columns: Tensor | None) -> int:
    """A number that other integers, or the same in another order, hardly ever have."""
    mark = 0
    for column in columns:
        if column is not None:
            odd = 2 * torch.arange(len(column), device=column.device) + 1
            weights = odd * 0x5851F42D4C957F2D  # modulo 2^64
            mark = mark * 31 + int((column.long() * (weights ^ weights >> 29)).sum())
    return (mark + 2**63) % 2**64 - 2**63


def local_part(name: str, tensor: Any, group: Any) -> Any:
    """This process's part of a head's weight or bias.

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
