"""Selective log-probabilities, for trainers that already hold logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from poz.torch._linear_plan import choose_implementation

BLOCK = 1 << 22


def logps(
    logits: Tensor, targets: Tensor, *, ignore_index: int = -100, temperature: float = 1.0, inplace: bool = False,
    implementation: str = "auto",
) -> Tensor:  # fmt: skip
    """Return log softmax(logits / temperature) at the targets, computed in float32 a few rows at a time.

    Args:
        logits: (..., V), any float dtype.
        targets: (...) int64 in [0, V), or `ignore_index`.
        ignore_index: target of rows that give 0 and get no gradient.
        temperature: > 0.
        inplace: write the gradient over the logits in the backward pass; nothing else may read them afterwards, and a second
            backward pass raises.
        implementation: "auto", "torch" or "triton".

    Returns:
        (...) float32 (float64 for float64 logits), nats.
    """
    if targets.shape != logits.shape[:-1] or targets.dtype != torch.int64:
        raise ValueError(
            f"`targets` must be int64 of shape {tuple(logits.shape[:-1])}; got {targets.dtype} of {tuple(targets.shape)}."
        )
    if not temperature > 0:
        raise ValueError(f"`temperature` must be positive; got {temperature}.")
    chosen = choose_implementation(implementation, logits.device, logits.dtype)
    if logits.device.type == "cpu":
        wrong = (targets != ignore_index) & ((targets < 0) | (targets >= logits.shape[-1]))
        if bool(wrong.any()):
            raise ValueError(
                f"Targets must lie in [0, {logits.shape[-1]}) or be `ignore_index`; got {targets[wrong][0].item()}."
            )
    flat = logits.reshape(-1, logits.shape[-1])
    if inplace and flat.data_ptr() != logits.data_ptr():
        raise ValueError("inplace=True needs contiguous logits; call .contiguous() first, or leave it out.")
    apply: Any = _Selected.apply
    result: Tensor = apply(flat, targets.reshape(-1), ignore_index, float(temperature), inplace, chosen)
    return result.view(targets.shape)


class _Selected(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        targets: Tensor,
        ignore_index: int,
        temperature: float,
        inplace: bool,
        implementation: str,
    ) -> Tensor:
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        valid = targets != ignore_index
        column = targets.where(valid, torch.zeros_like(targets)).unsqueeze(1)
        if implementation == "triton":
            others = _triton_others(logits, column.squeeze(1), temperature)
        else:
            others = torch.empty(targets.shape, dtype=torch.float64, device=logits.device)
            for here in _blocks(logits):
                z = logits[here].to(dtype, copy=True).div_(temperature)
                top = z.amax(1)
                z.sub_(top.unsqueeze(1)).exp_().scatter_(1, column[here], 0.0)
                others[here] = top.double() + z.sum(1).double().log()
        own = logits.gather(1, column).squeeze(1).double() / temperature
        behind = others - own
        logp = -torch.logaddexp(behind, torch.zeros_like(behind))
        ctx.save_for_backward(logits, column, logp, torch.logaddexp(others, own), valid)
        ctx.temperature, ctx.inplace, ctx.used = temperature, inplace, False
        return logp.to(dtype) * valid

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        if ctx.used:
            raise RuntimeError(
                "The logits were overwritten by inplace=True; call poz.torch.logps again, or without it."
            )
        logits, column, logp, lse, valid = ctx.saved_tensors
        ctx.used = ctx.inplace
        out = logits if ctx.inplace else torch.empty_like(logits)
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        factor = (upstream.double() / ctx.temperature).masked_fill(~valid, 0.0)
        at_target = (-torch.expm1(logp) * factor).to(dtype)
        for here in _blocks(logits):
            z = logits[here].to(dtype, copy=True).div_(ctx.temperature)
            z.sub_(lse[here].to(dtype).unsqueeze(1)).exp_().mul_(-factor[here].to(dtype).unsqueeze(1))
            z.scatter_(1, column[here], at_target[here].unsqueeze(1))
            z.masked_fill_((factor[here] == 0).unsqueeze(1), 0.0)
            out[here].copy_(z)
        return out, None, None, None, None, None


def _blocks(logits: Tensor) -> list[slice]:
    rows = max(1, BLOCK // max(logits.shape[1], 1))
    return [slice(low, low + rows) for low in range(0, logits.shape[0], rows)]


def _triton_others(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    from poz.torch._linear_tiles import Head
    from poz.torch._linear_triton import pass_over

    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    return pass_over(logits, None, targets, Head(temperature, 1.0, None, False), frozenset()).others
