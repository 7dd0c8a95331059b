"""The mean over a whole batch, under data parallelism and accumulation, however it is shared out.

What an objective that is defined over the batch (`Objective.coupled`) needs of each example is a few numbers, so the
whole batch fits anywhere; only the model's activations do not. Over processes the numbers are gathered (`whole_batch`),
over micro-batches they are computed first and the gradient is handed back to each (`slopes`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from poz.backends import namespace
from poz.combination import combine
from poz.families import layout_of, named
from poz.objective import Objective

REDUCTIONS = ("mean", "sum")


def whole_batch(objective: Objective, batch: Any, group: Any = None, *, reduction: str = "mean") -> Tensor:
    """The losses of this process's examples, where the objective sees those of all processes.

    The mean of the result has, in this process's log-probs, the gradient of the global mean times the number of processes.
    The averaging of gradients that data parallelism does makes that the gradient of the global mean, however unequal the
    shares are; a hyper-parameter that is learned gets it too. A share may be empty; the mean of no losses is NaN, so a
    loop that has such shares takes `losses.sum() / max(len(losses), 1)`.

    With `reduction="sum"` it is for the sum of the result, by a denominator that is one number for all processes, such as the
    examples of all processes and micro-batches: added up over the processes, its gradients are those of the global sum by
    that denominator. Where gradients are averaged over processes instead, multiply by their number.

    Under torch.compile the graph breaks here, as the other processes are asked for their shares.

    Args:
        objective: Any objective, the same on all processes.
        batch: This process's share, with the same fields of the same dtypes on all processes; fields that belong to all
            examples (calibration samples) are gathered too.
        group: The processes that share a batch; the default group if None. Without torch.distributed, one process.
        reduction: How the caller goes on, "mean" or "sum", the same on all processes.

    Returns:
        (examples here,) losses.

    Raises:
        RuntimeError: While torch.compile traces a whole graph.
        ValueError: This process is not in the group, or another reduction. On all processes: what one of them gave is no
            share of one batch with the others', or the objective refuses it, or a hyper-parameter or a weight of
            `poz.combine` is an array with one number per example. The process whose own batch is refused raises what the
            objective raised, such as a TypeError.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        _check_objective(objective)
        _check_reduction(reduction)
        return cast(Tensor, objective(batch))
    if torch.compiler.is_compiling():
        raise RuntimeError("whole_batch asks the other processes for their shares; leave fullgraph=True out.")
    ask: Any = _over_processes
    if "torch._dynamo" in sys.modules:  # else nothing is compiled, and importing it takes a second
        ask = torch.compiler.disable(_over_processes)  # type: ignore[no-untyped-call]
    return cast(Tensor, ask(objective, batch, group, reduction))


def _over_processes(objective: Objective, batch: Any, group: Any, reduction: str) -> Tensor:
    if torch.distributed.get_rank(group) < 0:
        raise ValueError("This process is not in the group that it was given; only its members share the batch.")
    losses, here, error = None, _Share(), None
    try:
        _check_reduction(reduction)
        here = _share_of(objective, batch)._replace(reduction=reduction)
        losses = None if objective.coupled else objective(batch)
        here = here if losses is None else here._replace(rows=losses.numel())
    except Exception as raised:  # the others must hear of it, whatever it is
        error, here = raised, _Share(problem=f"{type(raised).__name__}: {raised}")
    world, rank = torch.distributed.get_world_size(group), torch.distributed.get_rank(group)
    shares = cast(list[_Share], [None] * world)
    torch.distributed.all_gather_object(shares, here, group=group)
    if error is not None:
        raise error
    _check_alike(shares)
    total = sum(share.rows for share in shares)
    scale = 1 / max(here.rows, 1) if reduction == "sum" else world / max(total, 1)
    apply: Any = _Scaled.apply if losses is not None else _Part.apply
    if losses is not None:
        plain = reduction == "sum" or here.rows * world == total
        return losses if plain else cast(Tensor, apply(losses, here.rows * scale))
    gathered = {}
    for name in here.layout:
        dims = layout_of(objective.family).shapes[name][0]
        axis = dims.index("b") if "b" in dims else 0
        sizes = [share.rows if "b" in dims else share.samples for share in shares]
        gathered[name] = torch.cat(gather_shares(getattr(batch, name), axis, sizes, rank, group), axis)
    training = sum(share.rows > 0 for share in shares)  # of no loss there is no gradient
    losses = cast(Tensor, _learned(objective, 1 / max(training, 1))(type(batch)(**gathered)))
    return cast(Tensor, apply(losses, sum(share.rows for share in shares[:rank]), here.rows, scale))


class _Share(NamedTuple):
    """What the processes tell each other of their shares before anything else."""

    objective: str = ""
    layout: Mapping[str, str] = {}
    rows: int = 0
    samples: int = 0
    trained_samples: bool = False
    reduction: str = ""
    problem: str = ""


def _check_reduction(reduction: Any) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'mean' or 'sum'; got {reduction!r:.80}.")


def _check_objective(objective: Any) -> None:
    if not isinstance(objective, Objective):
        raise TypeError(
            f"whole_batch and slopes need an objective, such as poz.aot or poz.zoo['aot']; got {objective!r:.80}."
        )


def _share_of(objective: Objective, batch: Any) -> _Share:
    _check_objective(objective)
    if type(batch) is not objective.family:
        raise TypeError(f"`{objective.name}` reads {named(objective.family)}; got {type(batch).__name__}.")
    layout: dict[str, str] = {}
    counts: dict[str, dict[str, int]] = {"b": {}, "c": {}}
    trained = False
    for name in sorted(objective.reads | objective.optional):
        value, dims = getattr(batch, name), layout_of(objective.family).shapes[name][0]
        if value is None:
            if name in objective.reads:
                raise ValueError(f"`{objective.name}` reads {name}, which is missing.")
            continue
        if not isinstance(value, Tensor):
            raise TypeError(f"whole_batch needs tensors; got {type(value).__name__} for {name}.")
        namespace(value)  # which refuses a DTensor
        if objective.coupled:
            if value.ndim != len(dims):
                raise ValueError(
                    f"`{objective.name}` is defined over a batch ({objective.coupled}), so {name} needs {len(dims)} "
                    f"dimensions; got shape {tuple(value.shape)}."
                )
            others = [str(size) for dim, size in zip(dims, value.shape, strict=True) if dim not in "bc"]
            layout[name] = " ".join((str(value.dtype), *others))
            key = "b" if "b" in dims else "c"
            counts[key][name] = value.shape[dims.index(key)]
            trained = trained or (key == "c" and value.requires_grad)
        else:
            layout[name] = str(value.dtype)
    for sizes in counts.values():
        if len(set(sizes.values())) > 1:
            raise ValueError(f"`{objective.name}` needs as many in each field; got {sizes}.")
    if objective.coupled:
        _check_shared(objective)
    rows, samples = (next(iter(sizes.values()), 0) for sizes in counts.values())
    return _Share(_named(objective), layout, rows, samples, trained)


def _named(value: Any) -> str:
    """An objective with its hyper-parameters, of arrays the shape only: a learned number is on another device each."""
    if not isinstance(value, Objective):
        return str(tuple(value.shape)) if hasattr(value, "dtype") else repr(value)
    parts = [f"{_named(part)} * {_named(weight)}" for part, weight in getattr(value, "parts", ())]
    bound = [f"{name}={_named(given)}" for name, given in value.values.items()]
    return f"{value.name}({', '.join(parts or bound)})"


def _check_alike(shares: list[_Share]) -> None:
    """Raises the same on every process."""
    first = shares[0]
    for rank, share in enumerate(shares):
        if share.problem:
            raise ValueError(f"Process {rank} could not compute its share of the batch. {share.problem}")
        if share.objective != first.objective:
            raise ValueError(
                f"Processes that share a batch need one objective; got {first.objective} on process 0 and "
                f"{share.objective} on process {rank}."
            )
        if share.reduction != first.reduction:
            raise ValueError(
                f"Processes that share a batch need one reduction; got {first.reduction!r} on process 0 and "
                f"{share.reduction!r} on process {rank}."
            )
        for name in sorted({*first.layout, *share.layout}):
            one, other = first.layout.get(name, "none"), share.layout.get(name, "none")
            if one != other:
                raise ValueError(
                    f"Processes that share a batch need the same fields, of one dtype; got {name} as {one} on process 0 "
                    f"and as {other} on process {rank}."
                )
        if share.trained_samples and share.samples and not share.rows:
            raise ValueError(
                f"Process {rank} has calibration samples with a gradient, but no example whose loss would train them. "
                "Leave them out there, or give it an example."
            )


def _learned(objective: Objective, share: float) -> Objective:
    """The objective where a learned number, of which each process makes the whole gradient, gets its share of it."""

    def scaled(value: Any) -> Any:
        learned = isinstance(value, Tensor) and value.requires_grad
        return cast(Any, _Scaled).apply(value, share) if learned else value

    parts = getattr(objective, "parts", ())
    if parts:
        return combine([(_learned(part, share), scaled(weight)) for part, weight in parts])
    moving = {name: scaled(value) for name, value in objective.values.items() if getattr(value, "requires_grad", False)}
    return objective.bind(**moving) if moving else objective


class _Scaled(torch.autograd.Function):
    """Numbers whose gradient is multiplied."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return values.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        return ctx.scale * upstream, None


class _Part(torch.autograd.Function):
    """Some of the losses: their mean has the gradient of the sum of all times `share`, their sum that times how many are here."""

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


def slopes(objective: Objective, batch: Any, group: Any = None, *, reduction: str = "mean") -> tuple[Tensor, Any]:
    """The losses of a batch, and their mean's gradient in each of its log-probs, with which micro-batches go backward.

        losses, slope = slopes(poz.aot, poz.Pairs(...))               # from one forward pass of all micro-batches
        for part in micro_batches:                                    # then, with a graph, one at a time
            (slope.chosen[part] * chosen_logps).sum().backward()      # and so on for each field that has a graph

    Args:
        objective: Any objective.
        batch: A family of tensors, without a graph.
        group: As for `whole_batch`.
        reduction: As for `whole_batch`; with "sum" the gradient of the sum, to be divided by the caller.

    Returns:
        Losses (batch,), and the family with a gradient for each log-prob field and None elsewhere.
    """
    if not isinstance(objective, Objective) or type(batch) is not objective.family:
        whole_batch(objective, batch, group, reduction=reduction)  # says what is wrong, on all processes
    kinds = layout_of(objective.family).shapes
    given = {
        name: value.detach().requires_grad_(kinds[name][1] in ("logp", "feature") and value.is_floating_point())
        if isinstance(value, Tensor)
        else value  # which whole_batch refuses, on all processes
        for name, value in batch._asdict().items()
        if value is not None
    }
    moving = [name for name, value in given.items() if getattr(value, "requires_grad", False)]
    with torch.enable_grad():
        losses = whole_batch(objective, type(batch)(**given), group, reduction=reduction)
        leaves = [given[name] for name in moving]
        found = torch.autograd.grad(
            losses.sum() if reduction == "sum" else losses.mean(), leaves, materialize_grads=True, allow_unused=True
        )
    empty = dict.fromkeys(batch._fields)
    return losses.detach(), type(batch)(**{**empty, **dict(zip(moving, found, strict=True))})


def gather_shares(value: Tensor, axis: int, sizes: list[int], rank: int, group: Any) -> list[Tensor]:
    """The shares of all processes, which may differ in size along `axis`; this process's own keeps its graph."""
    given = value.detach().movedim(axis, 0).contiguous()
    padded = torch.cat([given, given.new_zeros(max(sizes) - given.shape[0], *given.shape[1:])])
    parts = [torch.empty_like(padded) for _ in sizes]
    torch.distributed.all_gather(parts, padded, group=group)
    made = [part[:size].movedim(0, axis) for part, size in zip(parts, sizes, strict=True)]
    made[rank] = value
    return made
