"""`linear_logps`: hidden states and an LM head to token log-probabilities, without the logits."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz.torch.head import one_tile, operators
from poz.torch.head.checks import check_outputs, check_scaling, check_tensors
from poz.torch.head.doors import check_kinds, has_values
from poz.torch.head.fastest import fastest
from poz.torch.head.plan import Plan, make_plan
from poz.torch.head.settings import OUTPUTS, Inputs, Settings
from poz.torch.head.vocab_parallel import heard_by_all, local_part, shard_of
from poz.torch.head.work import taking_part


class LinearLogps(NamedTuple):
    """Per-token outputs of `linear_logps`, each (...) and 0 where ignored; None if not asked for.

    Attributes:
        logps: log-probability of the target, nats; differentiable.
        lse: log-sum-exp of the logits, nats; differentiable.
        entropy: of the distribution, nats; differentiable.
        log_sum_sq_probs: log of the sum of squared probabilities.
        mean_logit: mean of the logits over the vocabulary.
        top1: int64, the first token with the largest logit.
    """

    logps: Tensor | None = None
    lse: Tensor | None = None
    entropy: Tensor | None = None
    log_sum_sq_probs: Tensor | None = None
    mean_logit: Tensor | None = None
    top1: Tensor | None = None


class _Call(NamedTuple):
    inputs: Inputs
    group: str
    first: int
    vocabulary: int
    outputs: tuple[str, ...]
    plan: Plan
    fast: bool


def linear_logps(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    outputs: tuple[str, ...] = ("logps",),
    memory: int | str = "1GiB",
    precision: str = "exact",
    implementation: str = "auto",
    group: Any = None,
    rows: Tensor | None = None,
) -> Any:
    r"""The log-probability of each target under a linear head.

        logp_n = z[n, t_n] - log Σ_j exp z[n, j],    z = cap(s (h Wᵀ + b)) / T

    with cap(x) = softcap * tanh(x / softcap). Logits are float32 and never all there at once.

    Args:
        hidden: (..., D) float32, bfloat16, float16 (or float64, which is computed and returned in float64).
        weight: (V, D), the dtype of `hidden`; any strides; a local shard if `group` is given, or a DTensor sharded on V over
            that group. A DTensor without `group` is refused: under FSDP, call a `poz.torch.LogpsHead`.
        targets: (...) int64 in [0, V), or `ignore_index`. On a GPU they are only checked under POZ_CHECK_TARGETS=1; the
            log-probability of a target that does not exist is NaN.
        bias: (V,), sharded as `weight`; -inf takes a token out, whatever the cap and the scale.
        ignore_index: rows with this target are left out of every product; they give 0.
        temperature: T > 0, divides the logits last.
        logit_scale: s, multiplies them first.
        softcap: bound on their size, > 0; None for none.
        outputs: of "logps", "lse", "entropy", "log_sum_sq_probs", "mean_logit", "top1".
        memory: bytes, or text such as "512MiB": the most to use beyond inputs, outputs, gradients, and the gradient of 16-bit
            hidden states in float32.
            Probabilities that fit are kept for the backward pass (6NVD operations); otherwise logits are made again (8NVD).
            A head without gradient takes one pass and keeps d logp / d hidden instead (4NVD).
        precision: "exact", or "fast": 16-bit inputs give 16-bit logits, as most trainers do; that costs about 0.02 nat per
            token and as much as 0.4 nat over 512 tokens. float32 inputs are multiplied on a GPU as
            `torch.set_float32_matmul_precision` says. On a GPU d logits of 16-bit inputs are rounded to
            16 bit, as plain code rounds them; where probabilities are kept, the head's gradient is rounded once more (drawn
            bfloat16: relative error 2.7e-3, plain 2.3e-3).
        implementation: "auto", "torch", "triton", "fused" or "fastest"; `linear_logps_plan` says what is chosen. "fused" is a
            Triton product that stores no logits, for calls without a gradient; its last bits are not those of a call with
            one, so "auto" leaves it alone: a policy that equals its reference has a margin of exactly 0. "fastest" gives
            that up, where "fused" serves and was faster in the calls that the first call for a head measures (on 4096
            drawn rows, which come on top of `memory`); another process, or another run, may find otherwise.
        group: process group over which V is sharded. All its processes must be given the same rows, targets and settings,
            or all of them raise. Gradients of `hidden` are summed over it. Not under torch.compile, as the sizes of the
            shards are asked for.
        rows: (n,) int64, which of the flattened targets are not ignored, if that is known; saves a GPU the synchronisation of
            finding out. The others are taken to be ignored. No row may be there twice, which is checked on a CPU.

    Returns:
        (...) float32 if `outputs` is ("logps",), else `LinearLogps`. Log-probabilities have the same bits whatever is kept
        and whichever memory is allowed; on a GPU if cuBLAS sums alike for another number of rows.

    Raises:
        ValueError, TypeError, RuntimeError: with a sentence, before anything is computed.
    """
    quick = None
    if bias is None and softcap is None and group is None and rows is None and outputs == ("logps",):
        quick = one_tile.signature_of(
            hidden, weight, targets, ignore_index, temperature, logit_scale, memory, precision, implementation
        )
        known = one_tile.KNOWN.get(quick) if quick is not None else None
        made = None if known is None else one_tile.run(hidden, weight, targets, known)
        if made is not None:
            return made
    call = _prepare(
        hidden,
        weight,
        targets,
        bias,
        ignore_index,
        temperature,
        logit_scale,
        softcap,
        outputs,
        memory,
        precision,
        implementation,
        group,
        rows,
    )
    check = hidden.device.type == "cpu" or os.environ.get("POZ_CHECK_TARGETS") == "1"
    settings = Settings(
        ignore_index,
        float(temperature),
        float(logit_scale),
        None if softcap is None else float(softcap),
        call.fast,
        ",".join(call.outputs),
        call.plan.mode,
        call.plan.block_rows,
        call.plan.implementation,
        call.group,
        call.first,
        call.vocabulary,
        check,
    )
    if quick is not None:
        one_tile.learn(quick, settings)
    results = operators.run(call.inputs, settings)
    shaped = {
        name: value.reshape(targets.shape) for name, value in zip(OUTPUTS, results, strict=True) if name in call.outputs
    }
    return shaped["logps"] if call.outputs == ("logps",) else LinearLogps(**shaped)


def linear_logps_plan(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    outputs: tuple[str, ...] = ("logps",),
    memory: int | str = "1GiB",
    precision: str = "exact",
    implementation: str = "auto",
    group: Any = None,
    rows: Tensor | None = None,
) -> Plan:
    """What `linear_logps` would do with the same arguments, and why; nothing is computed but what "fastest" measures."""
    return _prepare(
        hidden,
        weight,
        targets,
        bias,
        ignore_index,
        temperature,
        logit_scale,
        softcap,
        outputs,
        memory,
        precision,
        implementation,
        group,
        rows,
    ).plan


def _prepare(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    ignore_index: int,
    temperature: float,
    logit_scale: float,
    softcap: float | None,
    outputs: tuple[str, ...],
    memory: int | str,
    precision: str,
    implementation: str,
    group: Any,
    rows: Tensor | None,
) -> _Call:
    tensors = {"hidden": hidden, "weight": weight, "targets": targets, "bias": bias, "rows": rows}
    given = {
        name: value for name, value in tensors.items() if value is not None or name in ("hidden", "weight", "targets")
    }
    with heard_by_all(group):
        check_kinds("linear_logps", given, sharded=("weight", "bias"))
        check_scaling(temperature, logit_scale, softcap, precision, ignore_index)
        chosen = check_outputs(outputs)
        vocabulary = weight.shape[0] if hasattr(weight, "device_mesh") else 0
        local, bias = local_part("weight", weight, group), local_part("bias", bias, group)
        bias = None if bias is None else bias.contiguous()
        flat_targets = targets.reshape(-1)
        if rows is None and has_values(targets):
            rows = taking_part(flat_targets, None, ignore_index)
        if torch.is_autocast_enabled(hidden.device.type) and hidden.dtype != torch.float64:
            dtype = torch.get_autocast_dtype(hidden.device.type)
            hidden, local, bias = hidden.to(dtype), local.to(dtype), None if bias is None else bias.to(dtype)
        check_tensors(hidden, local, targets, bias, rows)
    alike: tuple[Any, ...] = ()
    if group is not None:
        alike = (
            hidden.shape,
            hidden.dtype,
            hidden.requires_grad and torch.is_grad_enabled(),
            targets.shape,
            None if bias is None else bias.dtype,
            temperature,
            logit_scale,
            softcap,
            chosen,
            memory,
            precision,
            implementation,
            implementation == "fused" and (local.stride(1), local.requires_grad),
        )
    shard = shard_of(local, group, vocabulary, flat_targets, rows, alike)
    flat_hidden = hidden.reshape(-1, hidden.shape[-1])
    count = flat_targets.shape[0] if rows is None else rows.shape[0]
    fast = precision == "fast" and hidden.dtype in (torch.bfloat16, torch.float16)
    if implementation == "fastest":
        implementation = fastest(
            linear_logps,
            flat_hidden,
            local,
            bias,
            shard.group,
            outputs=chosen,
            softcap=softcap,
            memory=memory,
            precision=precision,
        )
    plan = make_plan(
        flat_hidden,
        _like_largest(local, shard.largest),
        bias,
        count,
        softcap=softcap,
        outputs=frozenset(chosen),
        memory=memory,
        fast=fast,
        implementation=implementation,
    )
    inputs = Inputs(flat_hidden, local, bias, flat_targets, rows)
    return _Call(inputs, shard.group, shard.first, shard.vocabulary, chosen, plan, fast)


def _like_largest(weight: Tensor, largest: int) -> Tensor:
    """What has the shape of the largest shard: processes that plan differently would wait for each other for ever."""
    if largest == weight.shape[0]:
        return weight
    like = torch.empty_strided((largest, weight.shape[1]), weight.stride(), dtype=weight.dtype, device="meta")
    return like.requires_grad_(weight.requires_grad)
