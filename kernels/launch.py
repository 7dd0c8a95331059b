"""Runs the Triton skeletons. Imports Triton."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from poz.kernels import sums as sums_file
from poz.kernels import twin
from poz.kernels.pairs import _skeleton as pair_file
from poz.kernels.plan import ListPlan, PairPlan, RolloutPlan
from poz.kernels.ranked import _skeleton as ranked_file
from poz.kernels.rollouts import _skeleton as rollout_file
from poz.kernels.rollouts._shared import Shared

FIXED = {"enable_fp_fusion": False}
"""Options of every launch: without fused multiply-adds the kernel rounds as torch does."""


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on CPU tensors."""
    return not isinstance(pair_file.pairs, triton.JITFunction)


def _patch_once() -> None:
    """Lets Triton's interpreter change its language once for each function, and leave it so.

    It does so at each call of a device function, which takes half of its time. A Triton without these names is left alone.
    """
    from triton.runtime import interpreter

    if hasattr(interpreter, "_patch_lang") and hasattr(interpreter, "_LangPatchScope"):
        interpreter._patch_lang = functools.cache(interpreter._patch_lang)
        interpreter._LangPatchScope.restore = lambda scope: None


if interpreted():
    _patch_once()


def block(tokens: int, segments: int, most: int = 1024) -> dict[str, int]:
    """Tokens per step and warps: one warp where segments are short, as with sums in place of tokens."""
    return {"BLOCK": 128, "num_warps": 1} if tokens <= 128 * segments else {"BLOCK": most, "num_warps": 4}


def pairs(
    plan: PairPlan,
    logps: Tensor,
    offsets: Tensor,
    anchors: Sequence[Tensor],
    columns: Sequence[Tensor],
    lengths: Tensor | None,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Loss of each pair and its gradient in every token; see `poz.kernels.pairs._skeleton.pairs` for the arguments."""
    count, tokens = offsets.numel() // 2, logps.numel()
    losses, gradient = _outputs(logps, count, with_gradient)
    if count == 0:
        return losses, gradient
    with on_device_of(logps):
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
            POINT=plan.point,
            BASE=plan.base,
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
    """Loss of each list and its gradient in every token; see `poz.kernels.ranked._skeleton.ranked` for the arguments."""
    count, tokens = lists.numel() - 1, logps.numel()
    losses, gradient = _outputs(logps, count, with_gradient)
    if count == 0:
        return losses, gradient
    with on_device_of(logps):
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
            POINT=plan.point,
            MEAN=plan.mean,
            SFT=plan.sft_weight != 0.0,
            SIZE=triton.next_power_of_2(max(longest, 1)),
            **block(tokens, offsets.numel() - 1),
            **FIXED,
        )
    return losses, gradient


def rollouts(
    plan: RolloutPlan,
    shared: Shared,
    logps: Tensor,
    offsets: Tensor,
    anchors: Sequence[Tensor],
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Loss of each completion and its gradient in every token; see `poz.kernels.rollouts._skeleton.rollouts`."""
    count, tokens = offsets.numel() - 1, logps.numel()
    losses, gradient = _outputs(logps, count, with_gradient)
    if count == 0:
        return losses, gradient
    others = shared.old, anchors[0] if anchors else None, shared.sampler, shared.log_weights
    with on_device_of(logps):
        rollout_file.rollouts[(count,)](
            logps.contiguous(),
            *(None if x is None else x.contiguous() for x in others),
            shared.advantages.contiguous(),
            shared.shares.contiguous(),
            offsets.contiguous(),
            losses,
            gradient,
            count,
            tokens,
            shared.kl_weight,
            *shared.bounds,
            plan.params,
            POINT=plan.point,
            KL=shared.kl,
            CORRECTION=shared.correction,
            PER_TOKEN=shared.per_token,
            WEIGHS=plan.weighs,
            WHOLE=plan.whole != "",
            MEAN=plan.whole == "mean",
            SPREAD=plan.whole != "" and plan.spread,
            **block(tokens, count, 512),
            **FIXED,
        )
    return losses, gradient


class Segments(twin.Segments):
    """The same by Triton, in float32."""

    def sum(self, values: Tensor) -> Tensor:
        """(tokens,) -> (segments,)."""
        return cast(Tensor, _Linear.apply(values, self._sum, self._spread))

    def spread(self, each: Tensor) -> Tensor:
        """(segments,) -> (tokens,), in the dtype given."""
        return cast(Tensor, _Linear.apply(each.float(), self._spread, self._sum)).to(each.dtype)

    def running(self, values: Tensor) -> Tensor:
        """(tokens,) -> (tokens,)."""
        return cast(Tensor, _Linear.apply(values, self._running, functools.partial(self._running, backward=True)))

    def _sum(self, values: Tensor) -> Tensor:
        return self._launch(sums_file.segment_sums, values, self.offsets.numel() - 1)

    def _spread(self, each: Tensor) -> Tensor:
        return self._launch(sums_file.segment_slopes, each, self.tokens, self.tokens)

    def _running(self, values: Tensor, backward: bool = False) -> Tensor:
        return self._launch(sums_file.segment_running, values, self.tokens, BACKWARD=backward)

    def _launch(self, kernel: Any, given: Tensor, size: int, *more: int, **constants: bool) -> Tensor:
        count = self.offsets.numel() - 1
        out = (torch.empty if count else torch.zeros)(size, dtype=torch.float32, device=given.device)
        if count:
            with on_device_of(given):
                kernel[(count,)](
                    given.contiguous(),
                    self.offsets.contiguous(),
                    out,
                    count,
                    *more,
                    **constants,
                    **block(self.tokens, count),
                    **FIXED,
                )
        return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, run: Callable[..., Tensor], transposed: Callable[..., Tensor]) -> Tensor:
        ctx.transposed, ctx.dtype = transposed, values.dtype
        return run(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transposed(slopes).to(ctx.dtype), None, None


def _outputs(logps: Tensor, count: int, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    new = torch.empty if count else torch.zeros
    losses = new(count, dtype=torch.float32, device=logps.device)
    gradient = new(logps.numel(), dtype=torch.float32, device=logps.device) if with_gradient else None
    return losses, gradient


def on_device_of(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Launch on the GPU and the stream of a tensor, not on the current ones."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
