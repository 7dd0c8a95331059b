"""How `linear_logps` goes about a call: which implementation, what is kept, how many rows at a time."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
from torch import Tensor

from poz._extras import HAS_TRITON
from poz._memory import bytes_of, text_of
from poz._nearest import meant
from poz.torch.head.implementations import implementation_of
from poz.torch.head.tiles import ROW_QUANTUM, compute_dtype, padded
from poz.torch.head.work import Size


class Plan(NamedTuple):
    """What a call does.

    Attributes:
        implementation: `"torch"`, `"triton"` or `"fused"`.
        mode: `"forward"` (nothing kept), `"keep"`, `"recompute"`, or `"one pass"` (a head without gradient).
        block_rows: rows multiplied at a time.
        workspace: bytes in use while a pass runs.
        kept: bytes held from the forward to the backward pass, beyond `workspace`.
        reason: why, in a sentence; not while torch.compile traces a call.
    """

    implementation: str
    mode: str
    block_rows: int
    workspace: int
    kept: int
    reason: str


KNOWN = ("auto", "torch", "triton")
FUSED_OUTPUTS = frozenset(("logps", "lse"))


def choose_implementation(asked: str, device: torch.device, dtype: torch.dtype, known: tuple[str, ...] = KNOWN) -> str:
    """The implementation to use; an explicit one is taken or refused, never replaced.

    Raises:
        ValueError: no such implementation.
        RuntimeError: the device lacks the one asked for, or it cannot compute in `dtype`.
    """
    if asked not in known:
        raise ValueError(
            f"`implementation` must be one of {', '.join(map(repr, known))}; got {asked!r}.{meant(asked, known)}"
        )
    if asked == "torch":
        return asked
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if asked != "auto":
        if dtype == torch.float64:
            raise RuntimeError(
                f"implementation={asked!r} computes in float32; use implementation='torch' or 'auto' for float64."
            )
        if not HAS_TRITON:
            raise RuntimeError(f"implementation={asked!r} needs the package `triton`, which is not installed.")
        if device.type != "cuda" and not interpreted:
            raise RuntimeError(
                f"implementation={asked!r} needs a GPU, or TRITON_INTERPRET=1 set before triton is imported; the tensors are on "
                f"{device}. Use implementation='torch' or 'auto' there."
            )
        return asked
    return "triton" if HAS_TRITON and device.type == "cuda" and dtype != torch.float64 else "torch"


def _check_fused(weight: Tensor, outputs: frozenset[str], grad: bool) -> None:
    if grad:
        raise RuntimeError(
            "implementation='fused' keeps nothing that a gradient could be made of. Call it under torch.no_grad(), or use "
            "'triton'."
        )
    if not outputs <= FUSED_OUTPUTS:
        raise ValueError(
            f"implementation='fused' gives 'logps' and 'lse'; got outputs {', '.join(sorted(outputs))}. Use 'triton' for more."
        )
    if weight.stride(1) != 1 and weight.shape[1] > 1:
        raise ValueError(
            f"implementation='fused' needs a head whose rows are contiguous; got strides {weight.stride()}. Use 'triton', or "
            "weight.contiguous()."
        )


def make_plan(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    rows: int,
    *,
    softcap: float | None,
    outputs: frozenset[str],
    memory: int | str,
    fast: bool,
    implementation: str,
) -> Plan:
    """Decide from shapes, dtypes and what needs a gradient alone, so that one shape is always treated alike.

    Raises:
        ValueError: `memory` cannot be read, or is less than the smallest that works.
    """
    limit = bytes_of(memory)
    chosen = choose_implementation(implementation, hidden.device, hidden.dtype, (*KNOWN, "fused", "fastest"))
    grad = torch.is_grad_enabled()
    head_grad = grad and (weight.requires_grad or (bias is not None and bias.requires_grad))
    any_grad = head_grad or (grad and hidden.requires_grad)
    if chosen == "fused":
        _check_fused(weight, outputs, any_grad)
    hidden_size, vocabulary = weight.shape[1], weight.shape[0]
    fast = fast and hidden.dtype in (torch.bfloat16, torch.float16)
    way = implementation_of(chosen)
    size = Size(rows, weight, softcap is not None, outputs, fast)
    block = min(way.most_rows, max(ROW_QUANTUM, padded(rows)))
    while block > ROW_QUANTUM and way.workspace(size, block) > limit:
        block = max(ROW_QUANTUM, block // 2 // ROW_QUANTUM * ROW_QUANTUM)
    needed = way.workspace(size, block)
    tracing = torch.compiler.is_compiling()  # sizes may be symbols then, which do not print
    if needed > limit:
        least = "to be had by one call without torch.compile" if tracing else repr(text_of(needed))
        raise ValueError(
            f"memory={memory!r} is too small for a head of {vocabulary} tokens by {hidden_size} and "
            f"{'so many' if tracing else rows} rows: the smallest that works is {least}."
        )
    if not any_grad:
        return Plan(chosen, "forward", block, needed, 0, "Nothing needs a gradient, so nothing is kept.")
    if not head_grad:
        kept = padded(rows) * hidden_size * compute_dtype(hidden).itemsize
        return Plan(chosen, "one pass", block, needed, kept, "The head needs no gradient: d logp / d hidden is stored.")
    kept = padded(rows) * vocabulary * way.factor_dtype(hidden, fast).itemsize
    if needed + kept <= limit:
        reason = "" if tracing else f"The probabilities, {text_of(kept)}, fit {memory!r}."
        return Plan(chosen, "keep", block, needed, kept, reason)
    more = (
        ""
        if tracing
        else f"The probabilities would take {text_of(needed + kept)}, more than {memory!r}; logits are made again."
    )
    return Plan(chosen, "recompute", block, needed, 0, more)
