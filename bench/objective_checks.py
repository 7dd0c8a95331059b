"""Objectives on Triton and their losses from packed tokens, against float64, twice."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import poz
from poz.bench.jobs import Check
from poz.families import layout_of
from poz.objective import Base
from poz.testing import conform, draw_case
from poz.testing.tolerances import RTOL, UNIT


def objective(name: str, device: str, large: bool) -> Iterator[Check]:
    """The fused loss of an objective on drawn batches and hyper-parameters, against the float64 reference."""
    from poz.kernels.loss import fused_losses

    def candidate(batch: Any, **values: Any) -> Tensor:
        there = type(batch)(*(None if field is None else field.to(device) for field in batch))
        return fused_losses(name, there, values, implementation="triton").cpu()

    result = conform(name, candidate, dtype="float32", cases=12 if large else 2, size=33 if large else 5)
    worst = math.inf if result.loss_error is None else result.loss_error
    share = max(worst / RTOL["float32", "loss"], (result.gradient_error or 0) / RTOL["float32", "gradient"])
    yield Check(f"fused loss {name}, error over tolerance", share, 1.0, result.problem)


def packed(name: str, device: str, large: bool) -> Iterator[Check]:
    """An objective on token log-probs, from empty to long completions, many examples and one, against its float64 twin."""
    small = ((1, torch.float32), (3, torch.bfloat16), (3, torch.float16))
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    worst, drawn = [0.0, 0.0], 0
    for count, dtype in (*small, (257, torch.float32), (8192, torch.bfloat16)) if large else small:
        try:
            case = draw_case(poz.zoo[name], rng, count, 30.0)
        except ValueError:  # one example can be too few for an objective that compares examples
            continue
        drawn += 1
        leaves, orders, losses, bases = _packed(case, rng, 3000 if large else 140, device)
        if layout_of(case.objective.family).per_token:
            dtype = torch.float32
        found = _shares(leaves, orders, losses, bases, dtype)
        worst = [max(pair) if all(x == x for x in pair) else math.nan for pair in zip(worst, found, strict=True)]
    what = f"packed {name}, error over tolerance"
    problem = "" if drawn else "no batch could be drawn"
    yield Check(f"{what}: losses", worst[0], 1.0, problem)
    yield Check(f"{what}: gradient", worst[1], 1.0, problem)


Losses = Callable[[Sequence[Tensor], str], Tensor]


def _packed(
    case: Any, rng: np.random.Generator, longest: int, device: str
) -> tuple[list[Tensor], Tensor, Losses, list[Callable[[Sequence[Tensor]], Tensor]]]:
    """Log-probs in float64, signs to move them by, losses from (log-probs, implementation), and those under them."""
    from poz.kernels.loss import from_batch, fused_losses

    bound, batch = case.objective, case.batch
    values: dict[str, Any] = dict(bound.values)
    if layout_of(bound.family).per_token:
        times = longest // 8
        tiled = {name: np.tile(x, times) if x.ndim > 1 else x for name, x in batch._asdict().items() if x is not None}
        fields = {name: _held(x, device) for name, x in tiled.items()}
        names = [
            n for n, (_, kind) in layout_of(bound.family).shapes.items() if kind in ("logp", "feature") and n in fields
        ]

        def padded(leaves: Sequence[Tensor], implementation: Any) -> Tensor:
            rest = {n: x.to(leaves[0].dtype) if x.is_floating_point() else x for n, x in fields.items()}
            given = type(batch)(**{**rest, **dict(zip(names, leaves, strict=True))})
            return fused_losses(bound.name, given, values, implementation)

        # A drawn token is worth up to 30 nats; so many of them together are to be worth as much.
        leaves = [fields[name].double() / times for name in names]
        return leaves, torch.ones((), dtype=torch.float64, device=device), padded, []
    whole = type(batch)(*(None if x is None else torch.tensor(x) for x in batch))
    given = from_batch(bound.name, whole, values)
    data = given["columns"] | {key: x for key, x in given.items() if key == "lists"}
    count, anchors = len(given["logps"]), len(given["anchors"])
    two_sided = layout_of(bound.family).paired and "rejected" in bound.reads
    order = np.repeat([1.0, -1.0], count // 2) if two_sided else np.where(np.arange(count) % 2, -1.0, 1.0)
    sizes = rng.integers(0, longest, count)
    sizes[: min(2, count)] = (0, 1)[: min(2, count)]
    offsets = torch.tensor(np.concatenate([[0], sizes.cumsum()]), device=device)
    tokens = -rng.exponential(1.5, (1 + anchors, int(offsets[-1])))
    tokens[1:] = tokens[0] + rng.normal(0, 0.1, tokens[1:].shape)
    given = {key: _held(x.numpy(), device) for key, x in data.items()}

    def fused(leaves: Sequence[Tensor], implementation: Any) -> Tensor:
        return _loss(bound, leaves, offsets, given, implementation)

    signs = torch.tensor(np.repeat(order, sizes), device=device)
    return [torch.tensor(row, device=device) for row in tokens], signs, fused, _bases(bound, offsets, given)


def _loss(
    bound: Any, leaves: Sequence[Tensor], offsets: Tensor, given: dict[str, Tensor], implementation: Any
) -> Tensor:
    from poz.kernels.loss import list_loss, token_loss

    wide = leaves[0].dtype == torch.float64
    rest = {key: x.double() if wide and x.is_floating_point() else x for key, x in given.items()}
    lists = {"lists": rest.pop("lists")} if "lists" in rest else {}
    return (list_loss if lists else token_loss)(
        bound.name, leaves[0], offsets, **lists, anchors=leaves[1:], columns=rest, implementation=implementation,
        **bound.values,
    )  # fmt: skip


def _bases(bound: Any, offsets: Tensor, given: dict[str, Tensor]) -> list[Callable[[Sequence[Tensor]], Tensor]]:
    """Losses of the objectives under this one, on the pairs and on the pairs swapped, whose rounding differences carry."""
    bases = [bound.values[name] for name, param in bound.params.items() if isinstance(param.domain, Base)]
    if not bases:
        return []
    count = len(offsets) // 2
    middle = int(offsets[count])
    turned = torch.cat([offsets[count:] - middle, offsets[1 : count + 1] + (offsets[-1] - middle)])
    other = dict(given)
    if "label" in other:
        other["label"] = 1 - other["label"]
    if "margin" in other:
        other["margin"] = -other["margin"]

    def read(base: Any, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: column for name, column in columns.items() if name in base.reads | base.optional}

    def swapped(base: Any, leaves: Sequence[Tensor]) -> Tensor:
        turned_leaves = [torch.cat([x[middle:], x[:middle]]) for x in leaves]
        return _loss(base, turned_leaves, turned, read(base, other), "torch")

    def straight(base: Any, leaves: Sequence[Tensor]) -> Tensor:
        return _loss(base, leaves, offsets, read(base, given), "torch")

    return [functools.partial(order, base) for order in (straight, swapped) for base in bases]


def _held(x: Any, device: str) -> Tensor:
    """An array as a kernel takes it: floats in float32, which both sides are given."""
    made = torch.tensor(x, device=device)
    return made.float() if made.is_floating_point() else made


def _shares(
    leaves: list[Tensor], signs: Tensor, losses: Losses, bases: Sequence[Callable[[Sequence[Tensor]], Tensor]],
    dtype: torch.dtype,
) -> list[float]:  # fmt: skip
    """Largest error of the kernel over its tolerance, of losses and of gradients in the policy's log-probs.

    The tolerance is that of `poz.testing`: its scale has a part for conditioning, how far float64 itself moves where every
    log-prob moves by one part in a million, chosen and rejected apart; and a gradient is measured against `UNIT` at least,
    for what cancels in it, such as two softmaxes, leaves its rounding. It is taken four times, for a log-prob is the sum of
    thousands here; a gradient may be off by the rounding to a 16-bit dtype too.
    """
    rounded = [leaf.to(dtype).double() for leaf in leaves]
    wanted = _with_slopes(losses, rounded, "torch")
    scales = [x.abs() for x in wanted]
    scales[0] += 1 + sum(base(rounded).abs() for base in bases)
    scales[1] += max(scales[1].max().item(), UNIT["float32"]) if scales[1].numel() else 0.0
    step = 1e-6
    for direction in (step, -step):
        moved = [rounded[0] * (1 + direction * signs), *(leaf * (1 - direction * signs) for leaf in rounded[1:])]
        for scale, there, here in zip(scales, _with_slopes(losses, moved, "torch"), wanted, strict=True):
            scale += (there - here).abs() / step
    mine = _with_slopes(losses, [leaf.to(dtype) for leaf in rounded], "triton")
    coarse = (0.0, 0.0 if dtype == torch.float32 else torch.finfo(dtype).eps)
    limits = (4 * RTOL["float32", "loss"], 4 * RTOL["float32", "gradient"])
    found = []
    for got, other, scale, limit, eps in zip(mine, wanted, scales, limits, coarse, strict=True):
        gap = (got.double() - other).abs()
        allowed = limit * scale + eps * other.abs() + torch.finfo(dtype).tiny
        found.append((gap / allowed).max().item() if gap.numel() else 0.0)
    return found


def _with_slopes(losses: Losses, leaves: Sequence[Tensor], implementation: str) -> list[Tensor]:
    first = leaves[0].detach().requires_grad_()
    made = losses([first, *leaves[1:]], implementation)
    return [made.detach(), torch.autograd.grad(made.sum(), first)[0]]
