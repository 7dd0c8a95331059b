"""`fused_objective`: hidden states and an LM head to the loss of a separable objective, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

import poz
from poz.backends import namespace
from poz.counts import Counts
from poz.families import layout_of, named
from poz.torch._fused_loop import LoopSettings, LossInTheLoop, axis_of, fields_made, fields_used, outputs_of
from poz.torch.head.checks import check_scaling, check_tensors
from poz.torch.head.doors import check_kinds
from poz.torch.head.plan import choose_implementation
from poz.torch.head.tiles import Head, compute_dtype
from poz.torch.head.vocab_parallel import local_part


class FusedLoss(NamedTuple):
    """What `fused_objective` returns.

    Attributes:
        loss: () weighted sum of the losses; differentiable in hidden, weight and bias, once: its gradients are handed over
            by the first backward pass, and a second derivative raises.
        losses: (B,) losses per example, nats; without gradient.
        logps: log-prob of each completion, summed over its tokens, nats: (2, B) for pairs, (B, K) for lists; for rollouts of
            each token, (B, T), 0 where there is none; no gradient.
    """

    loss: Tensor
    losses: Tensor
    logps: Tensor


def fused_objective(
    objective: Any,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    fields: Mapping[str, Tensor] | None = None,
    example_weights: Tensor | None = None,
    whole: Counts | None = None,
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

    A chunk is as many whole pairs, lists or completions as fit `memory`; one that does not fit alone, and what reads entropies,
    has its logits made twice. A mean over the tokens of the batch, or over its completions that are not empty, is served too,
    for `targets` tell of how many before anything is computed. The result
    is that of `linear_logps` followed by the objective, to rounding, and its log-probabilities are the same to the bit, under
    `torch.autocast` too; those of a head of a few tokens only to rounding, as its matrix product depends on where in a chunk a
    row stands (seen on a CPU for 2 to 11 tokens). Gradients of 16-bit inputs stay in float32 until the backward pass, so that
    they are rounded once.

    Args:
        objective: a `poz` objective over `Pairs`, `TokenPairs`, `Ranked` or `Rollouts`, bound to hyper-parameters that are the
            same for all examples and require no gradient.
        hidden: (2, B, T, D), chosen then rejected; for lists (B, K, T, D), for rollouts (B, T, D).
        weight: (V, D).
        targets: (2, B, T), (B, K, T) or (B, T) int64; `ignore_index` where there is no completion token.
        fields: what else the objective reads, by field name, such as `ref_chosen` (B,) or `old_logps` (B, T); log-probs and
            entropies of the policy, lengths and masks are filled in. They are data: none may require a gradient.
        example_weights: (B,) factor of each example; 1/B where not given, which is the mean, or 1 / `whole.completions`.
        whole: what the whole batch counts where this is a part of it, on another process or a micro-batch. The losses are then
            those of the whole batch, and the `loss` of all parts adds up to its mean.
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
        ValueError: the objective couples examples by more than what they count, so that no chunk's loss is known before all
            are done; or bad arguments.
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
    _check_targets(objective, targets)
    objective, total = _apart(objective, targets != ignore_index, whole)
    examples = targets.shape[axis_of(objective)]
    if example_weights is None:
        example_weights = hidden.new_full((examples,), 1 / max(int(total), 1), dtype=compute_dtype(hidden))
    if not isinstance(example_weights, Tensor):
        kind = type(example_weights).__name__
        raise TypeError(f"`example_weights` must be a tensor ({examples},); got a {kind}. Give torch.tensor(...).")
    namespace(example_weights)  # which refuses a DTensor
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
    settings = LoopSettings(
        objective, fields, ignore_index, head, memory, implementation, _origins(hidden, weight, bias)
    )
    apply: Any = LossInTheLoop.apply
    with torch.autocast(hidden.device.type, enabled=False):
        return FusedLoss(*apply(hidden, weight, bias, targets, example_weights.detach(), settings))


def _origins(*tensors: Tensor | None) -> tuple[Tensor, ...]:
    """Numbers that come from the tensors, for autograd, and hold none of their memory."""
    return tuple(tensor.narrow(0, 0, 0).sum() for tensor in tensors if tensor is not None and tensor.requires_grad)


def _check_separable(objective: Any) -> None:
    layout = layout_of(objective.family)
    if "calibration" in objective.reads:
        raise _refusal(objective, "it also differentiates the log-probs of calibration completions")
    if not layout.tokens or not (layout.paired or layout.ranked or layout.per_token):
        made = "pairs, lists or rollouts" if layout.tokens else "the log-probs of tokens"
        raise _refusal(objective, f"its family, {named(objective.family)}, is not made of {made}")


def _check_targets(objective: Any, targets: Tensor) -> None:
    layout = layout_of(objective.family)
    shape, size = ("(B, K, T)", 3) if layout.lists else ("(B, T)", 2)
    if layout.paired:
        shape, size = "(2, B, T), chosen then rejected", 3
    if targets.dim() != size or (layout.paired and targets.shape[0] != 2):
        raise ValueError(f"`{objective.name}` needs `targets` of shape {shape}; got {tuple(targets.shape)}.")


def _apart(objective: Any, mask: Tensor, whole: Counts | None) -> tuple[Any, Any]:
    """The objective where the losses of a part need no other, and the examples of the whole batch."""
    if mask.dim() != 2:
        if whole is not None:
            raise ValueError(
                f"`whole` counts completions with tokens of their own, and `{objective.name}` reads {named(objective.family)}. "
                "Leave it out, and give `example_weights`."
            )
        if objective.coupled:
            raise _refusal(objective, f"it is defined over the whole batch ({objective.coupled})")
        return objective, mask.shape[axis_of(objective)]
    here = Counts.of(mask.cpu())
    whole = here if whole is None else whole.read() if isinstance(whole, Counts) else whole
    try:
        apart = objective.within(whole)
    except ValueError as error:
        raise _refusal(objective, f"it is defined over the whole batch ({objective.coupled})") from error
    for name, of_all, of_part in zip(Counts._fields, whole, here, strict=True):
        if of_all < of_part:
            raise ValueError(
                f"`whole` must count this part too; got {name}={of_all}, and `targets` alone have {of_part}."
            )
    return apart, whole.completions


def _refusal(objective: Any, reason: str) -> ValueError:
    how = "Use poz.torch.linear_logps and call the objective on its result."
    if not layout_of(objective.family).tokens:
        how = f"Call it on what the model gives, as in poz.{objective.name}({named(objective.family)}(...))."
    return ValueError(f"`{objective.name}` cannot be computed inside the loop: {reason}. {how}")


def _check_fields(objective: Any, fields: Mapping[str, Any], shape: torch.Size, hidden: Tensor) -> None:
    """Refuses what the objective would refuse of the whole batch: a chunk alone cannot tell a field that is too long."""
    logps = torch.zeros(shape, dtype=compute_dtype(hidden), device=hidden.device)
    made = fields_made(objective, logps == 0, *(logps for _ in outputs_of(objective)))
    read = objective.reads | objective.optional
    for name in fields:
        if name in made:
            raise TypeError(f"`fields` must not hold {name}, which is made from `hidden` and `targets`. Leave it out.")
        if name not in read:
            wanted = ", ".join(sorted(read - made.keys())) or "nothing else"
            raise TypeError(f"`{objective.name}` does not read {name}, which `fields` holds; it reads {wanted}.")
    objective.check(objective.family(**{**fields_used(objective, made), **fields}))


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
