"""Who runs the passes: torch operators where a graph is traced, a plain autograd function, or neither."""

from __future__ import annotations

from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch._C import _functorch

from poz.torch.head import passes
from poz.torch.head.logps import once
from poz.torch.head.settings import OUTPUTS, Inputs, Needs, Saved, Settings, Upstream, parts, schema_of
from poz.torch.head.tiles import compute_dtype

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


def run(inputs: Inputs, settings: Settings) -> tuple[Tensor, ...]:
    """The outputs, empty where not wanted."""
    if is_traced(*inputs):
        made: tuple[Tensor, ...] = linear_logps_forward(*inputs, *settings)
    elif settings.mode == "forward":
        with torch.no_grad():
            made = passes.forward(inputs, settings)
    else:
        apply: Any = _Direct.apply
        made = apply(*inputs, settings)
    return made[: len(OUTPUTS)]


# What the operators take: torch infers a schema from neither `*given` nor named tuples, so these make it.
FORWARD = (Inputs, Settings)
BACKWARD = (Upstream, Inputs, Saved, Needs, Settings)
MADE = ", ".join(["Tensor"] * (len(OUTPUTS) + len(Saved._fields)))


@torch.library.custom_op("poz::linear_logps", mutates_args=(), schema=f"({schema_of(*FORWARD)}) -> ({MADE})")
def linear_logps_forward(*given: Any) -> tuple[Tensor, ...]:
    """The outputs of all rows, then what is saved."""
    return passes.forward(*parts(given, *FORWARD))


@linear_logps_forward.register_fake
def _(*given: Any) -> tuple[Tensor, ...]:
    inputs, settings = parts(given, *FORWARD)
    full = [
        inputs.hidden.new_empty(
            inputs.targets.shape if name in settings.wanted else (0,),
            dtype=torch.int64 if name == "top1" else compute_dtype(inputs.hidden),
        )
        for name in OUTPUTS
    ]
    return (*full, *passes.allocate(inputs, settings))


@torch.library.custom_op(
    "poz::linear_logps_backward", mutates_args=(), schema=f"({schema_of(*BACKWARD)}) -> (Tensor, Tensor, Tensor)"
)
def linear_logps_backward(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of hidden, weight and bias; empty where not needed."""
    return passes.backward(*parts(given, *BACKWARD))


@linear_logps_backward.register_fake
def _(*given: Any) -> tuple[Tensor, ...]:
    _, inputs, _, needs, _ = parts(given, *BACKWARD)
    hidden, weight, bias, _, _ = inputs
    return (
        torch.empty(hidden.shape if needs.need_hidden else (0,), dtype=hidden.dtype, device=hidden.device),
        torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
        if needs.need_weight
        else hidden.new_empty(0),
        hidden.new_empty(0)
        if bias is None or not needs.need_bias
        else torch.empty_like(bias, memory_format=torch.contiguous_format),
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, ctx.settings = parts(inputs, *FORWARD)
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
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, ...]:
        inputs, settings = Inputs(*given[:-1]), given[-1]
        made = passes.forward(inputs, settings)
        outputs = made[: len(OUTPUTS)]
        ctx.save_for_backward(*inputs, *made[len(OUTPUTS) :])
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*outputs[3:])
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        inputs, saved = parts(ctx.saved_tensors, Inputs, Saved)
        needs, upstream = Needs(*ctx.needs_input_grad[:3]), Upstream(*gradients[:3])
        with torch.no_grad():
            made = passes.backward(upstream, inputs, saved, needs, ctx.settings)
        origins = [x for x in (*upstream, *inputs[:3]) if x is not None]
        full = (once(NO_SECOND, x, *origins) if need else None for x, need in zip(made, needs, strict=True))
        return (*full, None, None, None)
