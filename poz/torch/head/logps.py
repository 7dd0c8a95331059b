"""Selective log-probabilities, for trainers that already hold logits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from poz._scaling import check_factors
from poz.torch.head.doors import check_kinds, check_numbers
from poz.torch.head.plan import choose_implementation

BLOCK = 1 << 22
NO_SECOND = (
    "poz.torch.logps has no second derivative. Take log-probabilities with torch operations where one is needed, such as "
    "`torch.log_softmax(logits, -1)`."
)


def logps(
    logits: Tensor,
    targets: Tensor,
    *,
    ignore_index: int = -100,
    temperature: float = 1.0,
    inplace: bool = False,
    implementation: str = "auto",
) -> Tensor:
    """log softmax(logits / temperature) at the targets, computed in float32 a few rows at a time.

    Args:
        logits: (..., V), any float dtype.
        targets: (...) int64 in [0, V), or `ignore_index`.
        ignore_index: target of rows that give 0 and get a gradient of 0, whatever their logits hold.
        temperature: > 0, finite.
        inplace: write the gradient over the logits in the backward pass; nothing else may read them afterwards, and a second
            backward pass raises.
        implementation: "auto", "torch" or "triton".

    Returns:
        (...) float32 (float64 for float64 logits), nats; differentiable once, a second derivative raises.

    Raises:
        ValueError, TypeError, RuntimeError: with a sentence, before anything is computed.
    """
    check_kinds("logps", {"logits": logits, "targets": targets})
    check_numbers(ignore_index, temperature=temperature)
    if not logits.is_floating_point():
        raise TypeError(f"`logits` must be of a float dtype; got {logits.dtype}. Convert them with .float().")
    if logits.dim() < 1 or logits.shape[-1] < 1:
        raise ValueError(f"`logits` must be (..., V) with at least one token; got {tuple(logits.shape)}.")
    if targets.shape != logits.shape[:-1] or targets.dtype != torch.int64:
        raise ValueError(
            f"`targets` must be int64 of shape {tuple(logits.shape[:-1])}; got {targets.dtype} of {tuple(targets.shape)}."
        )
    if not 0 < temperature < math.inf:
        raise ValueError(
            f"`temperature` must be positive and finite; got {temperature}. Leave it out to take the logits as they are."
        )
    check_factors(temperature)
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
        return logp.masked_fill(~valid, 0.0).to(dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        if ctx.used:
            raise RuntimeError(
                "The logits were overwritten by inplace=True; call poz.torch.logps again, or without it."
            )
        logits, column, logp, lse, valid = ctx.saved_tensors
        ctx.used = ctx.inplace
        with torch.no_grad():
            values = logits.detach()
            out = values if ctx.inplace else torch.empty_like(values)
            dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
            factor = (upstream.double() / ctx.temperature).masked_fill(~valid, 0.0)
            at_target = (-torch.expm1(logp) * factor).to(dtype)
            for here in _blocks(values):
                z = values[here].to(dtype, copy=True).div_(ctx.temperature)
                z.sub_(lse[here].to(dtype).unsqueeze(1)).exp_().mul_(-factor[here].to(dtype).unsqueeze(1))
                z.scatter_(1, column[here], at_target[here].unsqueeze(1))
                z.masked_fill_((factor[here] == 0).unsqueeze(1), 0.0)
                out[here].copy_(z)
        return once(NO_SECOND, out, logits, upstream), None, None, None, None, None


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sentence: str, gradient: Tensor, *origins: Tensor) -> Tensor:
        ctx.sentence = sentence
        return gradient.detach()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError(ctx.sentence)


def once(sentence: str, gradient: Tensor, *origins: Tensor) -> Tensor:
    """A gradient from a backward pass; under create_graph=True, differentiating it by an origin raises the sentence.

    `once_differentiable` raises only where the upstream gradient needs a gradient, and gives 0 elsewhere.
    """
    if not torch.is_grad_enabled():
        return gradient
    apply: Any = _Once.apply
    result: Tensor = apply(sentence, gradient, *origins)
    return result


def _blocks(logits: Tensor) -> list[slice]:
    rows = max(1, BLOCK // max(logits.shape[1], 1))
    return [slice(low, low + rows) for low in range(0, logits.shape[0], rows)]


def _triton_others(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    from poz.torch.head.launches import pass_over
    from poz.torch.head.tiles import Head

    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    return pass_over(logits, None, targets, Head(temperature, 1.0, None, False), frozenset()).others
