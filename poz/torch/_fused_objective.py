"""The loss inside the loop over chunks: whole pairs or lists at a time, gradients made at once, nothing kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

import poz
from poz._memory import bytes_of
from poz.families import layout_of, named
from poz.torch.head import operators, passes
from poz.torch.head.backward import Gradients
from poz.torch.head.doors import check_kinds
from poz.torch.head.linear_logps import check_scaling, check_tensors
from poz.torch.head.logps import once
from poz.torch.head.plan import choose_implementation, make_plan
from poz.torch.head.tiles import Head, compute_dtype, padded
from poz.torch.head.vocab_parallel import local_part

NO_SECOND = (
    "poz.torch.fused_objective has no second derivative. Take log-probabilities from logits with torch operations where one is "
    "needed, such as `torch.log_softmax(hidden @ weight.T, -1)`, and call the objective on them."
)


class FusedLoss(NamedTuple):
    """What `fused_objective` returns.

    Attributes:
        loss: () weighted sum of the losses; differentiable in hidden, weight and bias, once: its gradients are handed over
            by the first backward pass, and a second derivative raises.
        losses: (B,) losses per example, nats; without gradient.
        logps: log-prob of each completion, summed over its tokens, nats: (2, B) for pairs, (B, K) for lists; no gradient.
    """

    loss: Tensor
    losses: Tensor
    logps: Tensor


class _Settings(NamedTuple):
    objective: Any
    fields: Mapping[str, Tensor]
    ignore_index: int
    head: Head
    memory: int | str
    implementation: str
    origins: tuple[Tensor, ...]


def fused_objective(
    objective: Any,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    fields: Mapping[str, Tensor] | None = None,
    example_weights: Tensor | None = None,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    memory: int | str = "1GiB",
    precision: str = "exact",
    implementation: str = "auto",
) -> FusedLoss:
    """The loss of a separable objective, with gradients made in the same pass over the vocabulary (6NVD operations).

    A chunk is as many whole pairs or lists as fit `memory`; one that does not fit alone has its logits made twice. The result
    is that of `linear_logps` followed by the objective, to rounding, and its log-probabilities are the same to the bit, under
    `torch.autocast` too; those of a head of a few tokens only to rounding, as its matrix product depends on where in a chunk a
    row stands (seen on a CPU for 2 to 11 tokens). Gradients of 16-bit inputs stay in float32 until the backward pass, so that
    they are rounded once.

    Args:
        objective: a `poz` objective over `Pairs`, `TokenPairs` or `Ranked`, bound to hyper-parameters that are the same for all
            examples and require no gradient.
        hidden: (2, B, T, D), chosen then rejected; for lists (B, K, T, D).
        weight: (V, D).
        targets: (2, B, T) or (B, K, T) int64; `ignore_index` where there is no completion token.
        fields: what else the objective reads, by field name, such as `ref_chosen` (B,); log-probs of the policy, lengths and
            masks are filled in. They are data: none may require a gradient.
        example_weights: (B,) factor of each example; 1/B where not given, which is the mean.
        bias: as in `linear_logps`, like all that follow.
        ignore_index: target that marks rows to leave out.
        temperature: divides the logits.
        logit_scale: multiplies them first.
        softcap: bound on their size.
        memory: bytes, or text such as "512MiB", to use beyond inputs, outputs and gradients. For 16-bit inputs that need a
            gradient, the gradients are float32, twice the size of hidden and head, from this call to the end of the backward
            pass, which hands over 16-bit ones, made one after the other; none of this is counted.
        precision: "exact" or "fast".
        implementation: "auto", "torch" or "triton".

    Raises:
        ValueError: the objective couples examples, so that no chunk's loss is known before all are done; or bad arguments.
        TypeError: something else than an objective or a tensor, or fields that the objective does not read.
    """
    if not isinstance(objective, poz.Objective):
        raise TypeError(
            f"`objective` must be an objective, such as poz.simpo.bind(beta=2.0) or poz.zoo['simpo']; got {objective!r}."
        )
    if not isinstance(fields, Mapping | None):
        raise TypeError(f"`fields` must be a mapping, such as {{'ref_chosen': ...}}; got a {type(fields).__name__}.")
    tensors = {"hidden": hidden, "weight": weight, "targets": targets}
    given = {**tensors, **({} if bias is None else {"bias": bias})}
    check_kinds("fused_objective", given, sharded=("weight", "bias"))
    check_scaling(temperature, logit_scale, softcap, precision, ignore_index)
    weight, bias = local_part("weight", weight, None), local_part("bias", bias, None)
    if torch.is_autocast_enabled(hidden.device.type) and hidden.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight, bias = hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if not torch.is_grad_enabled():  # leaves still say that they need a gradient
        hidden, weight, bias = hidden.detach(), weight.detach(), None if bias is None else bias.detach()
    check_tensors(hidden, weight, targets, bias, None)
    choose_implementation(implementation, hidden.device, hidden.dtype)
    _check_separable(objective)
    lists = layout_of(objective.family).lists
    if targets.dim() != 3 or (not lists and targets.shape[0] != 2):
        shape = "(B, K, T)" if lists else "(2, B, T), chosen then rejected"
        raise ValueError(f"`{objective.name}` needs `targets` of shape {shape}; got {tuple(targets.shape)}.")
    examples = targets.shape[0] if lists else targets.shape[1]
    if example_weights is None:
        example_weights = hidden.new_full((examples,), 1 / max(examples, 1), dtype=compute_dtype(hidden))
    if not isinstance(example_weights, Tensor):
        kind = type(example_weights).__name__
        raise TypeError(f"`example_weights` must be a tensor ({examples},); got a {kind}. Give torch.tensor(...).")
    if example_weights.shape != (examples,):
        raise ValueError(f"`example_weights` must be ({examples},); got {tuple(example_weights.shape)}.")
    if example_weights.is_complex():
        raise TypeError(f"`example_weights` must be real numbers; got {example_weights.dtype}.")
    if example_weights.device != hidden.device:
        raise ValueError(
            f"`example_weights` are on {example_weights.device} and `hidden` on {hidden.device}; move one."
        )
    fields = dict(fields or {})
    _check_fields(objective, fields, targets.shape, hidden)
    _check_gradients(objective, fields, example_weights)
    fast = precision == "fast" and hidden.dtype in (torch.bfloat16, torch.float16)
    head = Head(float(temperature), float(logit_scale), None if softcap is None else float(softcap), fast)
    bias = None if bias is None else bias.contiguous()
    settings = _Settings(objective, fields, ignore_index, head, memory, implementation, _origins(hidden, weight, bias))
    apply: Any = _LossInTheLoop.apply
    with torch.autocast(hidden.device.type, enabled=False):
        return FusedLoss(*apply(hidden, weight, bias, targets, example_weights.detach(), settings, lists))


def _origins(*tensors: Tensor | None) -> tuple[Tensor, ...]:
    """Numbers that come from the tensors, for autograd, and hold none of their memory."""
    return tuple(tensor.narrow(0, 0, 0).sum() for tensor in tensors if tensor is not None and tensor.requires_grad)


def _check_separable(objective: Any) -> None:
    reason, layout = objective.coupled, layout_of(objective.family)
    if reason:
        reason = f"it is defined over the whole batch ({reason})"
    elif "calibration" in objective.reads:
        reason = "it also differentiates the log-probs of calibration completions"
    elif not layout.tokens or not (layout.paired or layout.ranked):
        made = "pairs or lists" if layout.tokens else "the log-probs of tokens"
        reason = f"its family, {named(objective.family)}, is not made of {made}"
    if reason:
        how = "Use poz.torch.linear_logps and call the objective on its result."
        if not layout.tokens:
            how = f"Call it on what the model gives, as in poz.{objective.name}({named(objective.family)}(...))."
        raise ValueError(f"`{objective.name}` cannot be computed inside the loop: {reason}. {how}")


def _check_fields(objective: Any, fields: Mapping[str, Any], shape: torch.Size, hidden: Tensor) -> None:
    """Refuses what the objective would refuse of the whole batch: a chunk alone cannot tell a field that is too long."""
    logps = torch.zeros(shape, dtype=compute_dtype(hidden), device=hidden.device)
    made = _made(objective, logps, logps == 0)
    read = objective.reads | objective.optional
    for name in fields:
        if name in made:
            raise TypeError(f"`fields` must not hold {name}, which is made from `hidden` and `targets`. Leave it out.")
        if name not in read:
            wanted = ", ".join(sorted(read - made.keys())) or "nothing else"
            raise TypeError(f"`{objective.name}` does not read {name}, which `fields` holds; it reads {wanted}.")
    objective.check(objective.family(**{**_used(objective, made), **fields}))


def _check_gradients(objective: Any, fields: Mapping[str, Any], example_weights: Tensor) -> None:
    """Refuses what needs a gradient that is not made here, and hyper-parameters that a chunk would have to slice."""
    needing = [f"`fields` holds {name}, which requires a gradient" for name, x in fields.items() if _needs_gradient(x)]
    if _needs_gradient(example_weights):
        needing.append("`example_weights` require a gradient")
    for name, value, per in _settings_of(objective):
        if _needs_gradient(value):
            needing.append(f"{name} requires a gradient")
        elif isinstance(value, Tensor) and value.numel() > 1 and not per:
            needing.append(
                f"`objective` has one {name.removeprefix('the ')} for each example, and is called on a few of them"
            )
    if needing:
        raise ValueError(
            f"{needing[0]}; gradients made in the loop are those of hidden, weight and bias. Use poz.torch.linear_logps and "
            "call the objective on its result, or give what is constant, as of .detach()."
        )


def _needs_gradient(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad and torch.is_grad_enabled()


def _settings_of(objective: Any) -> Iterator[tuple[str, Any, str]]:
    """Name, value, and whose entries a table has, of every hyper-parameter and weight, those of bases and parts too."""
    for part, weight in getattr(objective, "parts", ()):
        yield f"the weight of `{part.name}`", weight, ""
        yield from _settings_of(part)
    for name, value in objective.values.items():
        if isinstance(value, poz.Objective):
            yield from _settings_of(value)
        yield f"{name} of `{objective.name}`", value, getattr(objective.params[name].domain, "per", "")


def _made(objective: Any, logps: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What comes from the log-probs of the tokens, by field name."""
    layout = layout_of(objective.family)
    made, lengths = (logps if layout.per_token else logps.sum(-1)), mask.sum(-1).to(logps.dtype)
    fields: dict[str, Tensor] = {}
    for place, side in enumerate(layout.sides):
        at = ... if layout.lists else place
        found = {
            side: made,
            layout.lengths.get(side): lengths,
            layout.masks.get(side) if layout.per_token else None: mask,
        }
        fields |= {name: x[at] for name, x in found.items() if name is not None}
    return fields


def _used(objective: Any, made: dict[str, Tensor]) -> dict[str, Tensor]:
    used = objective.reads | objective.optional | {*layout_of(objective.family).sides}
    return {name: value for name, value in made.items() if name in used}


class _Chunk(NamedTuple):
    """The examples from `low` to `high`, and the loss on their log-probs."""

    settings: _Settings
    low: int
    high: int
    lists: bool

    def take(self, tensor: Tensor) -> Tensor:
        return tensor[self.low : self.high] if self.lists else tensor[:, self.low : self.high]

    def batch(self, logps: Tensor, mask: Tensor) -> Any:
        objective = self.settings.objective
        fields = {name: self._slice(name, value) for name, value in self.settings.fields.items()}
        return objective.family(**{**_used(objective, _made(objective, logps, mask)), **fields})

    def _slice(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name.startswith("opponents_"):
            return value[:, self.low : self.high].detach()
        return value[self.low : self.high].detach()


class _LossInTheLoop(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        example_weights: Tensor,
        settings: _Settings,
        lists: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype = compute_dtype(hidden)
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        need_bias = need_bias and bias is not None
        examples = targets.shape[0] if lists else targets.shape[1]
        losses = torch.zeros(examples, dtype=dtype, device=hidden.device)
        logps = torch.zeros(targets.shape[:2], dtype=dtype, device=hidden.device)
        grad_hidden = torch.zeros_like(hidden, dtype=dtype) if need_hidden else None
        grad_weight = torch.zeros(weight.shape, dtype=dtype, device=weight.device) if need_weight else None
        grad_bias = torch.zeros(weight.shape[0], dtype=dtype, device=weight.device) if need_bias else None
        for low, high, mode, plan in _chunks(hidden, weight, bias, targets, settings, examples, lists):
            chunk = _Chunk(settings, low, high, lists)
            part, chosen = chunk.take(targets), chunk.take(hidden).reshape(-1, hidden.shape[-1])
            flat, mask = part.reshape(-1), part != settings.ignore_index
            index = passes.taking_part(flat, None, settings.ignore_index)
            head = settings.head
            results = operators.linear_logps_forward(
                chosen,
                weight,
                bias,
                flat,
                index,
                settings.ignore_index,
                *head,
                "logps",
                mode,
                plan.block_rows,
                plan.implementation,
                "",
                0,
                weight.shape[0],
                hidden.device.type == "cpu",
            )
            with torch.enable_grad():
                leaf = results[0].view(part.shape).requires_grad_()
                made = settings.objective(chunk.batch(leaf, mask))
                total = (made * example_weights[low:high].to(made.dtype)).sum()
                coefficients = torch.autograd.grad(total, leaf)[0].reshape(-1) if mode != "forward" else None
            losses[low:high] = made.detach()
            chunk.take(logps).copy_(leaf.detach().sum(-1))
            if coefficients is None:
                continue
            count = flat.shape[0] if index is None else index.shape[0]
            rows = passes.backward_of(plan.implementation)(
                chosen,
                weight,
                bias,
                index,
                passes.local_targets(flat, index, 0),
                count,
                head,
                [(coefficients if index is None else coefficients[index]).double(), None, None],
                results[6],
                results[7],
                results[8] if mode == "keep" else None,
                plan.block_rows,
                Gradients(chosen if need_hidden else None, grad_weight, grad_bias),
                True,
            )
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
        return (*(None if value is None else once(NO_SECOND, value, *origins) for value in gradients), *(None,) * 4)


def _chunks(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    settings: _Settings,
    examples: int,
    lists: bool,
) -> list[tuple[int, int, str, Any]]:
    """(first, last + 1, mode, plan) of each chunk: the most examples whose probabilities fit the memory."""
    per_example = max(1, targets.numel() // max(examples, 1))
    limit = bytes_of(settings.memory)
    grad = any(tensor is not None and tensor.requires_grad for tensor in (hidden, weight, bias))
    head = settings.head
    rows = min(per_example * examples, 4096)
    with torch.no_grad():
        plan = make_plan(
            hidden,
            weight,
            bias,
            max(rows, per_example),
            softcap=head.softcap,
            outputs=frozenset(("logps",)),
            memory=settings.memory,
            fast=head.fast,
            implementation=settings.implementation,
        )
    item = hidden.dtype.itemsize if head.fast or plan.implementation == "triton" else compute_dtype(hidden).itemsize
    fitting = (limit - plan.workspace) // (weight.shape[0] * item)
    mode = "forward" if not grad else "keep" if fitting >= padded(per_example) else "recompute"
    size = max(1, min(int(fitting) if mode == "keep" else rows, 4096) // padded(per_example))
    return [(low, min(low + size, examples), mode, plan) for low in range(0, examples, size)]
