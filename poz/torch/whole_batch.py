"""Objectives that are defined over the whole batch (`Objective.coupled`), under data parallelism and accumulation.

What such an objective needs of each example is a few numbers, so the whole batch fits anywhere; only the model's
activations do not. Over processes the numbers are gathered (`whole_batch`), over micro-batches they are computed first and
the gradient is handed back to each (`slopes`).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from poz.families import SHAPES
from poz.objective import Objective


def whole_batch(objective: Objective, batch: Any, group: Any = None) -> Tensor:
    """The losses of this process's examples, where the objective sees those of all processes.

    The mean of the result has, in this process's log-probs, the gradient of the global mean times the number of processes.
    The averaging of gradients that data parallelism does makes that the gradient of the global mean, however unequal the
    shares are.

    Args:
        objective: Any objective; for one that is not coupled this is `objective(batch)`.
        batch: This process's share; fields that belong to all examples (calibration samples) are gathered too.
        group: The processes that share a batch; the default group if None. Without torch.distributed, one process.

    Returns:
        (examples here,) losses.

    Raises:
        ValueError: A hyper-parameter or a weight of `poz.combine` is an array with one number per example.
    """
    if not objective.coupled or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return cast(Tensor, objective(batch))
    _check_shared(objective)
    world = torch.distributed.get_world_size(group)
    shapes = SHAPES[objective.family]
    fields = {name: value for name, value in batch._asdict().items() if value is not None}
    gathered, counts = {}, [0] * world
    for name, value in fields.items():
        dims = shapes[name][0]
        parts = _gather(value, dims.index("b") if "b" in dims else 0, world, group)
        counts = [part.shape[dims.index("b")] for part in parts] if "b" in dims else counts
        gathered[name] = torch.cat(parts, dims.index("b") if "b" in dims else 0)
    losses = cast(Tensor, objective(type(batch)(**gathered)))
    rank = torch.distributed.get_rank(group)
    before, here = sum(counts[:rank]), counts[rank]
    apply: Any = _Share.apply
    return cast(Tensor, apply(losses, before, here, world / max(sum(counts), 1)))


class _Share(torch.autograd.Function):
    """Some of the losses, whose mean has the gradient of the sum of all times `share`."""

    @staticmethod
    def forward(ctx: Any, losses: Tensor, before: int, here: int, share: float) -> Tensor:
        ctx.size, ctx.before, ctx.here, ctx.share = losses.shape[0], before, here, share
        return losses[before : before + here].clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        gradient = (ctx.share * upstream.sum()).expand(ctx.size).clone()
        gradient[ctx.before : ctx.before + ctx.here] = ctx.here * ctx.share * upstream
        return gradient, None, None, None


def _check_shared(objective: Objective) -> None:
    given = {
        name: value for name, value in objective.values.items() if not getattr(objective.params[name].domain, "per", "")
    }
    for part, weight in getattr(objective, "parts", ()):
        _check_shared(part)
        given[f"the weight of {part.name}"] = weight
    for name, value in given.items():
        if getattr(value, "ndim", 0):
            raise ValueError(
                f"whole_batch knows this process's examples only, and got {name} with one number for each of them, "
                f"{tuple(value.shape)}. Give one number for all."
            )


def slopes(objective: Objective, batch: Any, group: Any = None) -> tuple[Tensor, Any]:
    """The losses of a batch, and their mean's gradient in each of its log-probs, with which micro-batches go backward.

        losses, slope = slopes(poz.aot, poz.Pairs(...))               # from one forward pass of all micro-batches
        for part in micro_batches:                                    # then, with a graph, one at a time
            (slope.chosen[part] * chosen_logps).sum().backward()      # and so on for each field that has a graph

    Args:
        objective: Any objective.
        batch: A family of tensors, without a graph.
        group: As for `whole_batch`.

    Returns:
        Losses (batch,), and the family with a gradient for each log-prob field and None elsewhere.
    """
    kinds = SHAPES[objective.family]
    given = {
        name: value.detach().requires_grad_(kinds[name][1] == "logp")
        for name, value in batch._asdict().items()
        if value is not None
    }
    moving = [name for name, value in given.items() if value.requires_grad]
    losses = whole_batch(objective, type(batch)(**given), group)
    found = torch.autograd.grad(
        losses.mean(), [given[name] for name in moving], materialize_grads=True, allow_unused=True
    )
    empty = dict.fromkeys(batch._fields)
    return losses.detach(), type(batch)(**{**empty, **dict(zip(moving, found, strict=True))})


def _gather(value: Tensor, axis: int, world: int, group: Any) -> list[Tensor]:
    # Shares may differ in size along `axis`; this process's own keeps its graph.
    size = torch.tensor([value.shape[axis]], device=value.device)
    sizes = [torch.empty_like(size) for _ in range(world)]
    torch.distributed.all_gather(sizes, size, group=group)
    most = int(torch.stack(sizes).max())
    given = value.detach().movedim(axis, 0).contiguous()
    padded = torch.cat([given, given.new_zeros(most - given.shape[0], *given.shape[1:])])
    parts = [torch.empty_like(padded) for _ in range(world)]
    torch.distributed.all_gather(parts, padded, group=group)
    made = [part[: int(count)].movedim(0, axis) for part, count in zip(parts, sizes, strict=True)]
    made[torch.distributed.get_rank(group)] = value
    return made
