"""The loss inside the loop over chunks: whole examples at a time, gradients made at once, nothing kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz._memory import bytes_of
from poz.families import layout_of
from poz.torch.head import operators, passes
from poz.torch.head.implementations import implementation_of
from poz.torch.head.logps import once
from poz.torch.head.plan import Plan, make_plan
from poz.torch.head.settings import OUTPUTS, Inputs, Saved, Settings, Upstream
from poz.torch.head.tiles import Head, compute_dtype, padded
from poz.torch.head.work import Into, taking_part

NO_SECOND = (
    "poz.torch.fused_objective has no second derivative. Take log-probabilities from logits with torch operations where one is "
    "needed, such as `torch.log_softmax(hidden @ weight.T, -1)`, and call the objective on them."
)


class LoopSettings(NamedTuple):
    """What a call is given beside the tensors that may need a gradient; `origins` stand for those."""

    objective: Any
    fields: Mapping[str, Tensor]
    ignore_index: int
    head: Head
    memory: int | str
    implementation: str
    origins: tuple[Tensor, ...]


def axis_of(objective: Any) -> int:
    """Where the examples of `targets` lie: behind the two sides of a pair."""
    return int(layout_of(objective.family).paired)


def outputs_of(objective: Any) -> tuple[str, ...]:
    """What the head gives that it reads: log-probs, and entropies where those are an output of the policy."""
    policys = layout_of(objective.family).shapes.get("entropy") == ("bt", "feature")
    return ("logps", "entropy") if policys and "entropy" in objective.reads | objective.optional else ("logps",)


def fields_made(objective: Any, mask: Tensor, logps: Tensor, entropy: Tensor | None = None) -> dict[str, Tensor]:
    """What comes from the log-probs, and the entropy, of the tokens, by field name."""
    layout = layout_of(objective.family)
    made, lengths = (logps if layout.per_token else logps.sum(-1)), mask.sum(-1).to(logps.dtype)
    fields: dict[str, Tensor] = {} if entropy is None else {"entropy": entropy}
    for place, side in enumerate(layout.sides):
        at = place if layout.paired else ...
        found = {
            side: made,
            layout.lengths.get(side): lengths,
            layout.masks.get(side) if layout.per_token else None: mask,
        }
        fields |= {name: x[at] for name, x in found.items() if name is not None}
    return fields


def fields_used(objective: Any, made: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of them that the objective takes."""
    used = objective.reads | objective.optional | {*layout_of(objective.family).sides}
    return {name: value for name, value in made.items() if name in used}


class _Chunk(NamedTuple):
    """The examples from `low` to `high`, and the loss on their log-probs."""

    settings: LoopSettings
    low: int
    high: int

    def take(self, tensor: Tensor) -> Tensor:
        return tensor.narrow(axis_of(self.settings.objective), self.low, self.high - self.low)

    def batch(self, mask: Tensor, logps: Tensor, entropy: Tensor | None = None) -> Any:
        objective = self.settings.objective
        fields = {name: self._slice(name, value) for name, value in self.settings.fields.items()}
        return objective.family(**{**fields_used(objective, fields_made(objective, mask, logps, entropy)), **fields})

    def _slice(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name.startswith("opponents_"):
            return value[:, self.low : self.high].detach()
        return value[self.low : self.high].detach()


class LossInTheLoop(torch.autograd.Function):
    """The loss and its gradients, which the backward pass hands over."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        example_weights: Tensor,
        settings: LoopSettings,
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype, objective = compute_dtype(hidden), settings.objective
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        need_bias = need_bias and bias is not None
        examples, outputs = targets.shape[axis_of(objective)], outputs_of(objective)
        losses = torch.zeros(examples, dtype=dtype, device=hidden.device)
        logps = torch.zeros(targets.shape[:2], dtype=dtype, device=hidden.device)
        grad_hidden = torch.zeros_like(hidden, dtype=dtype) if need_hidden else None
        grad_weight = torch.zeros(weight.shape, dtype=dtype, device=weight.device) if need_weight else None
        grad_bias = torch.zeros(weight.shape[0], dtype=dtype, device=weight.device) if need_bias else None
        for low, high, mode, plan in _chunks(hidden, weight, bias, targets, settings, examples):
            chunk = _Chunk(settings, low, high)
            part, chosen = chunk.take(targets), chunk.take(hidden).reshape(-1, hidden.shape[-1])
            flat, mask = part.reshape(-1), part != settings.ignore_index
            index = taking_part(flat, None, settings.ignore_index)
            inputs = Inputs(chosen, weight, bias, flat, index)
            call = _call(settings, mode, plan, weight)
            results = operators.linear_logps_forward(*inputs, *call)
            with torch.enable_grad():
                leaves = [results[OUTPUTS.index(name)].view(part.shape).requires_grad_() for name in outputs]
                made = objective(chunk.batch(mask, *leaves))
                total = (made * example_weights[low:high].to(made.dtype)).sum()
                slopes = torch.autograd.grad(total, leaves) if mode != "forward" else None
            losses[low:high] = made.detach()
            by_token = leaves[0].detach()
            chunk.take(logps).copy_(by_token.sum(-1) if targets.dim() == 3 else by_token)
            if slopes is None:
                continue
            by = [(slope.reshape(-1) if index is None else slope.reshape(-1)[index]).double() for slope in slopes]
            upstream = Upstream(by[0], None, by[1] if "entropy" in outputs else None)
            into = Into(need_hidden, grad_weight, grad_bias, add=True)
            rows = passes.gradients(inputs, index, call, Saved(*results[len(OUTPUTS) :]), upstream, into)
            if grad_hidden is not None:
                whole = rows
                if index is not None:
                    whole = torch.zeros(chosen.shape, dtype=rows.dtype, device=rows.device).index_copy_(0, index, rows)
                chunk.take(grad_hidden).copy_(whole.view(*part.shape, hidden.shape[-1]))
            del results
        ctx.gradients = [
            (grad_hidden, hidden.dtype),
            (grad_weight, weight.dtype),
            (grad_bias, dtype if bias is None else bias.dtype),
        ]
        ctx.origins = settings.origins
        ctx.mark_non_differentiable(losses, logps)
        return (losses * example_weights.to(dtype)).sum(), losses, logps

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Any, ...]:
        if ctx.gradients is None:
            raise RuntimeError(
                "poz.torch.fused_objective holds its gradients once: call it again instead of calling backward twice."
            )
        held, ctx.gradients = ctx.gradients, None
        gradients: list[Tensor | None] = []
        with torch.no_grad():
            scaled = upstream.device.type != "cpu" or upstream.item() != 1.0
            while held:
                # One at a time, so that a float32 gradient is gone before the next one is rounded.
                gradient, dtype = held.pop(0)
                if gradient is not None:
                    gradient = (gradient.mul_(upstream) if scaled else gradient).to(dtype)
                gradients.append(gradient)
        origins = (upstream, *ctx.origins)
        return (*(None if value is None else once(NO_SECOND, value, *origins) for value in gradients), *(None,) * 3)


def _chunks(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    settings: LoopSettings,
    examples: int,
) -> list[tuple[int, int, str, Any]]:
    """(first, last + 1, mode, plan) of each chunk: the most examples whose probabilities fit the memory."""
    per_example = max(1, targets.numel() // max(examples, 1))
    limit = bytes_of(settings.memory)
    grad = any(tensor is not None and tensor.requires_grad for tensor in (hidden, weight, bias))
    head, outputs = settings.head, outputs_of(settings.objective)
    rows = min(per_example * examples, 4096)
    with torch.no_grad():
        plan = make_plan(
            hidden,
            weight,
            bias,
            max(rows, per_example),
            softcap=head.softcap,
            outputs=frozenset(outputs),
            memory=settings.memory,
            fast=head.fast,
            implementation=settings.implementation,
        )
    item = implementation_of(plan.implementation).factor_dtype(hidden, head.fast).itemsize
    fitting = (limit - plan.workspace) // (weight.shape[0] * item)
    keeps = fitting >= padded(per_example) and "entropy" not in outputs  # its gradient asks for the logits
    mode = "forward" if not grad else "keep" if keeps else "recompute"
    size = max(1, min(int(fitting) if mode == "keep" else 4096, 4096) // padded(per_example))
    return [(low, min(low + size, examples), mode, plan) for low in range(0, examples, size)]


def _call(settings: LoopSettings, mode: str, plan: Plan, weight: Tensor) -> Settings:
    return Settings(
        settings.ignore_index,
        *settings.head,
        outputs=",".join(outputs_of(settings.objective)),
        mode=mode,
        block_rows=plan.block_rows,
        implementation=plan.implementation,
        group="",
        first=0,
        vocabulary=weight.shape[0],
        check=weight.device.type == "cpu",
    )
