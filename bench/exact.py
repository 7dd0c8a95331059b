"""The float64 answer on the same inputs, the errors against it, and the gate that a row must pass to get a number."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from poz.bench.inputs import BETA, IGNORED, Inputs, dapo
from poz.bench.shapes import Mode

TILE = 1 << 27
LIMITS = {"float64": (1e-9, 1e-9), "float32": (1e-4, 1e-3), "bfloat16": (0.1, 0.1), "float16": (0.02, 0.1)}
"""Log-prob error (rms, nats) and relative gradient error above which a row gets no number.

They stop what is wrong, not what is coarse: 16-bit logits (0.02 to 0.04 nat) and 16-bit sums over chunks pass, a lost
token, a wrong sign or a missing factor does not.
"""
CLIPPED = 4
"""In 16 bit that much more of the gradient error passes where a loss clips: logits move tokens over the edge of the clip."""


class Exact(NamedTuple):
    """Float64 results.

    Attributes:
        logps: (n,) of the tokens that have a target, nats.
        hidden: (N, D) gradient, or None.
        weight: (V, D) gradient, or None.
    """

    logps: Tensor
    hidden: Tensor | None
    weight: Tensor | None


class Errors(NamedTuple):
    """Against float64 on the same inputs; None where there is nothing to compare.

    Attributes:
        rms: Of the log-probs, nats.
        bias: Their mean signed error, nats.
        worst: Their largest error, nats.
        loss: Signed error of the loss, where that is all there is, nats.
        hidden: Relative error of the gradient of the hidden states (Frobenius norms).
        weight: The same for the head.
    """

    rms: float | None = None
    bias: float | None = None
    worst: float | None = None
    loss: float | None = None
    hidden: float | None = None
    weight: float | None = None


def exact(inputs: Inputs, mode: Mode, mean: bool = False) -> Exact:
    """Compute a task in float64, a few rows at a time.

    Args:
        inputs: What was given.
        mode: Which gradients.
        mean: Of minus the mean log-prob, rather than of the loss of the case.
    """
    rows = inputs.rows
    weight, hidden = inputs.weight.double(), inputs.hidden[rows].double()
    targets = inputs.targets[rows]
    factor = inputs.upstream[rows].double() if not mean else torch.full_like(hidden[:, 0], -1 / max(len(rows), 1))
    logps = torch.empty_like(factor)
    grad_hidden = torch.zeros(inputs.hidden.shape, dtype=torch.float64, device=hidden.device)
    grad_weight = torch.zeros_like(weight) if mode == "train" else None
    step = max(1, TILE // weight.shape[0])
    for low in range(0, len(rows), step):
        here = slice(low, low + step)
        tile = hidden[here] @ weight.T
        column = targets[here, None]
        at_target = tile.gather(1, column)
        lse = tile.logsumexp(1, keepdim=True)
        logps[here] = (at_target - lse)[:, 0]
        if mode == "forward":
            continue
        if inputs.case.objective == "dapo" and not mean:
            leaf = logps[here].clone().requires_grad_()
            (factor[here],) = torch.autograd.grad(dapo(inputs, leaf, rows[here]), leaf)
        tile.sub_(lse).exp_().mul_(-factor[here, None])
        tile.scatter_(1, column, -torch.expm1(at_target - lse) * factor[here, None])
        grad_hidden[rows[here]] = tile @ weight
        if grad_weight is not None:
            grad_weight.addmm_(tile.T, hidden[here])
    return Exact(logps, None if mode == "forward" else grad_hidden, grad_weight)


def loss(inputs: Inputs, logps: Tensor, task: str) -> float:
    """The loss of a task, from the log-probs (n,) of the tokens that have a target: minus their mean, or that of the case."""
    if task == "mean":
        return -logps.mean().item()
    if task == "dapo":
        return dapo(inputs, logps, inputs.rows).item()
    pairs = inputs.case.sequences[0] // 2
    sums = torch.zeros(len(inputs.targets), dtype=torch.float64, device=logps.device)
    sums[inputs.rows] = logps
    sums = sums.view(2 * pairs, -1).sum(1)
    return torch.nn.functional.softplus(-BETA * (sums[:pairs] - sums[pairs:])).mean().item()


def rounding(answer: Exact, dtype: torch.dtype) -> dict[str, float | None]:
    """Relative error of nothing but rounding the exact gradients to a dtype: no implementation that returns it beats this."""
    pairs = {"hidden": answer.hidden, "weight": answer.weight}
    return {name: None if g is None else _relative(g.to(dtype), g) for name, g in pairs.items()}


def errors(outcome: tuple[Any, Any, Any], answer: Exact, inputs: Inputs, task: str) -> Errors:
    """Errors of log-probs or a loss and the gradients of hidden states and head, arrays of either library."""
    values, hidden, weight = outcome
    found = Errors(
        hidden=None if answer.hidden is None else _relative(_tensor(hidden, answer.hidden), answer.hidden),
        weight=None if answer.weight is None else _relative(_tensor(weight, answer.weight), answer.weight),
    )
    values = _tensor(values, answer.logps).double()
    if task != "tokens":
        return found._replace(loss=values.item() - loss(inputs, answer.logps, task))
    if values.shape != inputs.targets.shape:
        return found._replace(rms=math.nan)
    ignored = values[inputs.targets == IGNORED].abs().max().item() if len(inputs.rows) < len(values) else 0.0
    gap = values[inputs.rows] - answer.logps
    worst = max(gap.abs().max().item(), ignored)
    return found._replace(rms=gap.square().mean().sqrt().item(), bias=gap.mean().item(), worst=worst)


def refusal(found: Errors, dtype: str, objective: str = "dpo") -> str | None:
    """Why a row gets no number, or None where its errors are those of rounding."""
    logp_limit, gradient_limit = LIMITS[dtype]
    if objective == "dapo" and dtype in ("bfloat16", "float16"):
        gradient_limit *= CLIPPED
    checks = (
        ("log-prob rms error", found.rms, logp_limit),
        ("largest log-prob error", found.worst, 30 * logp_limit),
        ("loss error", found.loss, logp_limit),
        ("relative error of the hidden states' gradient", found.hidden, gradient_limit),
        ("relative error of the head's gradient", found.weight, gradient_limit),
    )
    for what, value, limit in checks:
        if value is not None and not abs(value) <= limit:
            return f"{what} is {abs(value):.1e}, more than {limit:.0e}"
    return None


def _relative(mine: Tensor, exact: Tensor) -> float:
    if mine.shape != exact.shape:
        return math.nan
    # Row blocks, so that no second float64 copy of a head's gradient exists.
    squares = [
        (mine[low : low + 8192].double() - exact[low : low + 8192]).square().sum() for low in range(0, len(exact), 8192)
    ]
    return float(torch.stack(squares).sum().sqrt() / exact.square().sum().sqrt().clamp(min=1e-300))


def _tensor(array: Any, like: Tensor) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach()
    return torch.from_numpy(np.array(array, dtype=np.float32)).to(like.device)
