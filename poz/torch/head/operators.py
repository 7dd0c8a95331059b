"""Who runs the passes: torch operators where a graph is traced, a plain autograd function, or neither."""

from __future__ import annotations

from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch._C import _functorch

from poz.torch.head import passes
from poz.torch.head.logps import once
from poz.torch.head.passes import Saved
from poz.torch.head.settings import OUTPUTS, SCHEMA, Settings
from poz.torch.head.tiles import compute_dtype

TENSORS = "Tensor hidden, Tensor weight, Tensor? bias, Tensor targets, Tensor? rows"
NO_SECOND = (
    "poz.torch.linear_logps has no second derivative. Take log-probabilities from logits with torch operations where one "
    "is needed, such as `torch.log_softmax(hidden @ weight.T, -1)`."
)


_PLAIN = (Tensor, torch.nn.Parameter)


def is_traced(*tensors: Tensor | None) -> bool:
    """Whether anything looks on that has to see one operator: a compiler, a tracer, a mode, a transformation."""
    if (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._get_tracing_state() is not None
    ):
        return True
    if _functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0:
        return True
    for tensor in tensors:
        if tensor is not None and (type(tensor) not in _PLAIN or _functorch.is_functorch_wrapped_tensor(tensor)):
            return True
    return False


def run(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rows: Tensor | None, settings: Settings
) -> tuple[Tensor, ...]:
    """The outputs, empty where not wanted."""
    given = hidden, weight, bias, targets, rows
    if is_traced(*given):
        made: tuple[Tensor, ...] = linear_logps_forward(*given, *settings)
    elif settings.mode == "forward":
        with torch.no_grad():
            made = passes.forward(*given, settings)
    else:
        apply: Any = _Direct.apply
        made = apply(*given, settings)
    return made[: len(OUTPUTS)]


@torch.library.custom_op(
    "poz::linear_logps", mutates_args=(), schema=f"({TENSORS}, {SCHEMA}) -> ({', '.join(['Tensor'] * 9)})"
)
def linear_logps_forward(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rows: Tensor | None, *settings: Any
) -> tuple[Tensor, ...]:
    """The outputs of all rows, then what is saved."""
    return passes.forward(hidden, weight, bias, targets, rows, Settings(*settings))


@linear_logps_forward.register_fake
def _(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rows: Tensor | None, *settings: Any
) -> tuple[Tensor, ...]:
    call, dtype = Settings(*settings), compute_dtype(hidden)
    full = [
        hidden.new_empty(targets.shape if name in call.wanted else (0,), dtype=torch.int64 if name == "top1" else dtype)
        for name in OUTPUTS
    ]
    return (*full, *passes.allocate(hidden, weight, rows, call))


@torch.library.custom_op(
    "poz::linear_logps_backward",
    mutates_args=(),
    schema=(
        f"(Tensor? grad_logp, Tensor? grad_lse, Tensor? grad_entropy, {TENSORS}, Tensor stats, Tensor tile_lse, Tensor kept, "
        f"bool need_hidden, bool need_weight, bool need_bias, {SCHEMA}) -> (Tensor, Tensor, Tensor)"
    ),
)
def linear_logps_backward(
    grad_logp: Tensor | None,
    grad_lse: Tensor | None,
    grad_entropy: Tensor | None,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    rows: Tensor | None,
    stats: Tensor,
    tile_lse: Tensor,
    kept: Tensor,
    need_hidden: bool,
    need_weight: bool,
    need_bias: bool,
    *settings: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of hidden, weight and bias; empty where not needed."""
    return passes.backward(
        (grad_logp, grad_lse, grad_entropy),
        hidden,
        weight,
        bias,
        targets,
        rows,
        Saved(stats, tile_lse, kept),
        Settings(*settings),
        (need_hidden, need_weight, need_bias),
    )


@linear_logps_backward.register_fake
def _(
    grad_logp: Tensor | None,
    grad_lse: Tensor | None,
    grad_entropy: Tensor | None,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    rows: Tensor | None,
    stats: Tensor,
    tile_lse: Tensor,
    kept: Tensor,
    need_hidden: bool,
    need_weight: bool,
    need_bias: bool,
    *settings: Any,
) -> tuple[Tensor, ...]:
    return (
        torch.empty(hidden.shape if need_hidden else (0,), dtype=hidden.dtype, device=hidden.device),
        torch.empty(weight.shape, dtype=weight.dtype, device=weight.device) if need_weight else hidden.new_empty(0),
        hidden.new_empty(0)
        if bias is None or not need_bias
        else torch.empty_like(bias, memory_format=torch.contiguous_format),
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, ctx.settings = inputs[:5], Settings(*inputs[5:])
    ctx.save_for_backward(*tensors, *output[len(OUTPUTS) :])
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[3:])


def _differentiate(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
    if ctx.settings.mode == "forward":
        raise RuntimeError(
            "poz.torch.linear_logps was run without keeping what a gradient needs; run it again with grad."
        )
    needs = ctx.needs_input_grad[:3]
    results = linear_logps_backward(*gradients[:3], *ctx.saved_tensors, *needs, *ctx.settings)
    kept = (result if need else None for result, need in zip(results, needs, strict=True))
    return (*kept, *(None,) * (2 + len(ctx.settings)))


def _refuse(ctx: Any, *gradients: Tensor | None) -> None:
    raise RuntimeError(NO_SECOND)


linear_logps_forward.register_autograd(_differentiate, setup_context=_remember)
linear_logps_backward.register_autograd(_refuse)


class _Direct(torch.autograd.Function):
    """The same passes without an operator around them, which costs a tenth of a millisecond."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        rows: Tensor | None,
        settings: Settings,
    ) -> tuple[Tensor, ...]:
        made = passes.forward(hidden, weight, bias, targets, rows, settings)
        outputs = made[: len(OUTPUTS)]
        ctx.save_for_backward(hidden, weight, bias, targets, rows, *made[len(OUTPUTS) :])
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*outputs[3:])
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        hidden, weight, bias, targets, rows, *saved = ctx.saved_tensors
        needs = ctx.needs_input_grad[:3]
        upstream = gradients[:3]
        with torch.no_grad():
            made = passes.backward(upstream, hidden, weight, bias, targets, rows, Saved(*saved), ctx.settings, needs)
        origins = [x for x in (*upstream, hidden, weight, bias) if x is not None]
        full = (once(NO_SECOND, x, *origins) if need else None for x, need in zip(made, needs, strict=True))
        return (*full, None, None, None)
