"""Runs the Triton skeletons; same arguments and results as `poz.kernels.twin`. Imports Triton."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from poz.kernels import pairs as pair_file
from poz.kernels import ranked as ranked_file
from poz.kernels.plan import ListPlan, PairPlan

FIXED = {"enable_fp_fusion": False}
"""Options of every launch: without fused multiply-adds the kernel rounds as its twin does."""


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on CPU tensors."""
    return not isinstance(pair_file.pairs, triton.JITFunction)


def point(name: str) -> Any:
    """The point function "file.function"."""
    file, _, function = name.partition(".")
    return getattr(importlib.import_module(f"poz.kernels.{file}"), function)


def block(tokens: int, segments: int) -> dict[str, int]:
    """Tokens per step and warps: one warp where segments are short, as with sums in place of tokens."""
    return {"BLOCK": 128, "num_warps": 1} if tokens <= 128 * segments else {"BLOCK": 1024, "num_warps": 4}


def pairs(
    plan: PairPlan,
    logps: Tensor,
    offsets: Tensor,
    anchors: Sequence[Tensor],
    columns: Sequence[Tensor],
    lengths: Tensor | None,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Loss of each pair and its gradient in every token; see `poz.kernels.pairs.pairs` for the arguments."""
    count, tokens = offsets.numel() // 2, logps.numel()
    losses, gradient = _outputs(logps, count, with_gradient)
    if count == 0:
        return losses, gradient
    with _on(logps):
        pair_file.pairs[(count,)](
            logps.contiguous(),
            tuple(anchor.contiguous() for anchor in anchors),
            plan.weights,
            tuple(column.contiguous() for column in columns),
            offsets.contiguous(),
            lengths.contiguous() if plan.mean and lengths is not None else None,
            losses,
            gradient,
            count,
            tokens,
            math.log2(plan.discount),
            plan.params,
            POINT=point(plan.point),
            BASE=point(plan.base) if plan.base else None,
            MEAN=plan.mean,
            DISCOUNTED=plan.discount != 1.0,
            **block(tokens, 2 * count),
            **FIXED,
        )
    return losses, gradient


def ranked(
    plan: ListPlan,
    logps: Tensor,
    offsets: Tensor,
    lists: Tensor,
    anchors: Sequence[Tensor],
    rewards: Tensor | None,
    lengths: Tensor | None,
    longest: int,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Loss of each list and its gradient in every token; see `poz.kernels.ranked.ranked` for the arguments."""
    count, tokens = lists.numel() - 1, logps.numel()
    losses, gradient = _outputs(logps, count, with_gradient)
    if count == 0:
        return losses, gradient
    with _on(logps):
        ranked_file.ranked[(count,)](
            logps.contiguous(),
            tuple(anchor.contiguous() for anchor in anchors),
            plan.weights,
            rewards.contiguous() if plan.rewards and rewards is not None else None,
            offsets.contiguous(),
            lists.contiguous(),
            lengths.contiguous() if plan.mean and lengths is not None else None,
            losses,
            gradient,
            count,
            tokens,
            plan.sft_weight,
            plan.params,
            POINT=point(plan.point),
            MEAN=plan.mean,
            SFT=plan.sft_weight != 0.0,
            SIZE=triton.next_power_of_2(max(longest, 1)),
            **block(tokens, offsets.numel() - 1),
            **FIXED,
        )
    return losses, gradient


def _outputs(logps: Tensor, count: int, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    new = torch.empty if count else torch.zeros
    losses = new(count, dtype=torch.float32, device=logps.device)
    gradient = new(logps.numel(), dtype=torch.float32, device=logps.device) if with_gradient else None
    return losses, gradient


def _on(logps: Tensor) -> contextlib.AbstractContextManager[Any]:
    return torch.cuda.device(logps.device) if logps.is_cuda else contextlib.nullcontext()
