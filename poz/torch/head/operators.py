"""The torch operators behind `linear_logps`: one forward, one backward, opaque to the compiler."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from poz.torch.head.backward import Gradients, backward_tiles, one_pass_gradient, row_gradients
from poz.torch.head.tiles import (
    Head,
    Rows,
    Weights,
    compute_dtype,
    forward_tiles,
    padded,
    vocabulary_tiles,
)
from poz.torch.head.vocab_parallel import find_group, join, reduce_over

EXTRAS = ("lse", "entropy", "log_sum_sq_probs", "mean_logit", "top1")
# Rows of the float64 `stats` that the backward pass reads.
LOGP, LSE, TARGET_LOGIT, ENTROPY, TOTAL = range(5)


def taking_part(targets: Tensor, rows: Tensor | None, ignore_index: int) -> Tensor | None:
    """Return the index of rows that take part; None if all of them do."""
    if rows is not None:
        return rows
    valid = targets != ignore_index
    index = valid.nonzero().squeeze(1)
    return None if index.shape[0] == targets.shape[0] else index


def local_targets(targets: Tensor, index: Tensor | None, first: int) -> Tensor:
    """Return the targets of the rows that take part, relative to this shard, padded with -1."""
    chosen = targets if index is None else targets[index]
    local = chosen.new_full((padded(chosen.shape[0]),), -1)
    local[: chosen.shape[0]] = chosen - first
    return local


def check_rows(rows: Tensor, count: int) -> None:
    """Refuse an index of rows that are not there, or there twice."""
    if rows.numel() == 0:
        return
    least, most = int(rows.min()), int(rows.max())
    if least < 0 or most >= count:
        raise ValueError(f"`rows` must lie in [0, {count}), the flattened targets; got {least} to {most}.")
    counts = torch.bincount(rows)
    if int(counts.max()) > 1:
        raise ValueError(
            f"`rows` must name each row once; got {int(counts.argmax())} {int(counts.max())} times, whose gradients would be "
            "added up. Leave duplicates out with .unique()."
        )


def _check_targets(targets: Tensor, vocabulary: int) -> None:
    if targets.numel() and (int(targets.min()) < 0 or int(targets.max()) >= vocabulary):
        wrong = targets[(targets < 0) | (targets >= vocabulary)][0].item()
        raise ValueError(
            f"Targets must lie in [0, {vocabulary}), the vocabulary, or be `ignore_index`; got {wrong}. "
            "Mask what is to be left out with `ignore_index`."
        )


def multiply_dtype(hidden: Tensor, fast: bool, implementation: str) -> torch.dtype:
    """Return the dtype of the matrix products' factors; only on a GPU are 16-bit ones multiplied into float32."""
    return compute_dtype(hidden) if implementation == "torch" and not fast else hidden.dtype


@torch.library.custom_op("poz::linear_logps", mutates_args=())
def linear_logps_forward(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rows: Tensor | None, ignore_index: int,
    temperature: float, logit_scale: float, softcap: float | None, fast: bool, outputs: str, mode: str, block_rows: int,
    implementation: str, group: str, first: int, vocabulary: int, check: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return logps, lse, entropy, log_sum_sq_probs, mean_logit, top1 (all rows), then stats, tile_lse and what is kept."""
    with torch.autocast(hidden.device.type, enabled=False):
        head = Head(temperature, logit_scale, softcap, fast)
        wanted = frozenset(outputs.split(","))
        if check and rows is not None:  # while a call is traced, they have no values
            check_rows(rows, targets.shape[0])
        index = taking_part(targets, rows, ignore_index)
        local = local_targets(targets, index, first)
        process_group = find_group(group)
        dtype = compute_dtype(hidden)
        participants = Rows(hidden, index, block_rows, multiply_dtype(hidden, fast, implementation))
        if check:
            _check_targets(local[: participants.count] + first, vocabulary)
        stats, tile_lse, kept = _saved(hidden, weight, rows, mode, multiply_dtype(hidden, fast, implementation))
        if implementation == "triton":
            from poz.torch.head.triton import forward_rows as forward
        elif implementation == "fused":
            from poz.torch.head.fused import fused_rows as forward
        else:
            forward = _forward_torch
        result = forward(
            participants, Weights(weight, bias, participants.dtype), local, head, wanted, mode, kept, tile_lse,
            process_group, vocabulary, first, stats,
        )  # fmt: skip
        count = participants.count
        full = []
        for name, value in zip(("logps", *EXTRAS), result, strict=True):
            if name not in wanted or value is None:
                full.append(hidden.new_empty(0, dtype=torch.int64 if name == "top1" else dtype))
                continue
            value = value[:count].to(torch.int64 if name == "top1" else dtype)
            whole = value.new_zeros(targets.shape)
            whole[...] = value if index is None else whole.index_copy(0, index, value)
            full.append(whole)
        logps, lse, entropy, log_square, mean_logit, top1 = full
        return logps, lse, entropy, log_square, mean_logit, top1, stats, tile_lse, kept


def _saved(
    hidden: Tensor, weight: Tensor, rows: Tensor | None, mode: str, kept_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Allocate what the backward pass is to find: stats, tile_lse and kept."""
    count = padded(hidden.shape[0] if rows is None else rows.shape[0])
    saved = count if mode != "forward" else 0
    tiles = len(vocabulary_tiles(*weight.shape))
    kept_shape: tuple[int, ...] = (0,)
    if mode == "keep":
        kept_shape = (count * weight.shape[0],)
    elif mode == "one pass":
        kept_shape, kept_dtype = (count, hidden.shape[1]), compute_dtype(hidden)
    return (
        hidden.new_empty((5, saved), dtype=torch.float64),
        hidden.new_empty((tiles, saved), dtype=torch.float64),
        hidden.new_empty(kept_shape, dtype=kept_dtype),
    )


def _forward_torch(
    rows: Rows, weights: Weights, local: Tensor, head: Head, wanted: frozenset[str], mode: str, kept: Tensor,
    tile_lse: Tensor, group: Any, vocabulary: int, first: int, stats: Tensor,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    count = padded(rows.count)
    part = forward_tiles(
        rows, weights, local, head, wanted,
        kept if mode == "keep" else None,
        kept[:count] if mode == "one pass" else None,
        tile_lse[:, :count] if mode != "forward" else None,
    )  # fmt: skip
    joined = join(part, group, vocabulary, first)
    if mode != "forward":
        stats[LOGP, :count], stats[LSE, :count], stats[TARGET_LOGIT, :count] = (
            joined.logp,
            joined.lse,
            joined.target_logit,
        )
        stats[TOTAL, :count] = part.total
        if joined.entropy is not None:
            stats[ENTROPY, :count] = joined.entropy
    if mode == "one pass":
        one_pass_gradient(
            kept[:count], count, weights.weight, local, head, part.total, joined.lse, joined.logp, joined.target_logit,
            part.owned, rows.block_rows,
        )  # fmt: skip
    return joined.logp, joined.lse, joined.entropy, joined.log_square, joined.mean_logit, joined.top1


@linear_logps_forward.register_fake
def _(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rows: Tensor | None, ignore_index: int,
    temperature: float, logit_scale: float, softcap: float | None, fast: bool, outputs: str, mode: str, block_rows: int,
    implementation: str, group: str, first: int, vocabulary: int, check: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    dtype = compute_dtype(hidden)
    wanted = outputs.split(",")
    full = [
        hidden.new_empty(targets.shape if name in wanted else (0,), dtype=torch.int64 if name == "top1" else dtype)
        for name in ("logps", *EXTRAS)
    ]
    return (*full, *_saved(hidden, weight, rows, mode, multiply_dtype(hidden, fast, implementation)))


@torch.library.custom_op("poz::linear_logps_backward", mutates_args=())
def linear_logps_backward(
    grad_logp: Tensor | None, grad_lse: Tensor | None, grad_entropy: Tensor | None, hidden: Tensor, weight: Tensor,
    bias: Tensor | None, targets: Tensor, rows: Tensor | None, stats: Tensor, tile_lse: Tensor, kept: Tensor,
    ignore_index: int, temperature: float, logit_scale: float, softcap: float | None, fast: bool, mode: str, block_rows: int,
    implementation: str, group: str, first: int, need_hidden: bool, need_weight: bool, need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of hidden, weight and bias; empty where not needed."""
    with torch.autocast(hidden.device.type, enabled=False):
        head = Head(temperature, logit_scale, softcap, fast)
        index = taking_part(targets, rows, ignore_index)
        local = local_targets(targets, index, first)
        count = targets.shape[0] if index is None else index.shape[0]
        upstream = []
        for gradient in (grad_logp, grad_lse, grad_entropy):
            if gradient is not None:
                gradient = (gradient if index is None else gradient[index]).double()
            upstream.append(gradient)
        grad_weight, grad_bias = hidden.new_empty(0), hidden.new_empty(0)
        if need_weight:
            grad_weight = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
        if need_bias and bias is not None:
            grad_bias = torch.empty(bias.shape, dtype=bias.dtype, device=bias.device)
        use_kept = mode == "keep" and grad_entropy is None
        use_one_pass = (
            mode == "one pass" and grad_entropy is None and grad_lse is None and not (need_weight or need_bias)
        )
        if use_one_pass:
            by_logp = upstream[0]
            grad_rows = kept.new_zeros((count, hidden.shape[1]))
            if by_logp is not None:
                active = by_logp != 0
                torch.mul(kept[:count], by_logp.to(kept.dtype).unsqueeze(1), out=grad_rows)
                grad_rows.masked_fill_(~active.unsqueeze(1), 0.0)
        else:
            backward = backward_of(implementation)
            grad_rows = backward(
                hidden, weight, bias, index, local, count, head, upstream, stats, tile_lse, kept if use_kept else None,
                block_rows, Gradients(hidden if need_hidden else None, grad_weight if need_weight else None,
                                      grad_bias if need_bias else None),
            )  # fmt: skip
        if not need_hidden:
            return hidden.new_empty(0), grad_weight, grad_bias
        reduce_over(find_group(group), grad_rows)
        if index is None and grad_rows.dtype == hidden.dtype:
            return grad_rows, grad_weight, grad_bias
        if index is None:
            return grad_rows.to(hidden.dtype), grad_weight, grad_bias
        grad_hidden = torch.zeros(hidden.shape, dtype=hidden.dtype, device=hidden.device)
        return grad_hidden.index_copy_(0, index, grad_rows.to(hidden.dtype)), grad_weight, grad_bias


def backward_of(implementation: str) -> Any:
    """Return the function that fills gradients."""
    if implementation == "torch":
        return _backward_torch
    from poz.torch.head.triton import backward_rows

    return backward_rows


def _backward_torch(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor | None, local: Tensor, count: int, head: Head,
    upstream: list[Tensor | None], stats: Tensor, tile_lse: Tensor, kept: Tensor | None, block_rows: int, into: Gradients,
    add: bool = False,
) -> Tensor:  # fmt: skip
    active = torch.zeros(count, dtype=torch.bool, device=hidden.device)
    for gradient in upstream:
        if gradient is not None:
            active |= gradient != 0
    positions = active.nonzero().squeeze(1)
    grad_rows = None
    if into.hidden is not None:
        grad_rows = torch.zeros((count, hidden.shape[1]), dtype=compute_dtype(hidden), device=hidden.device)
    size = positions.shape[0]
    if size == 0:
        for gradient in into[1:]:
            if gradient is not None and not add:
                gradient.zero_()
        return hidden.new_empty(0) if grad_rows is None else grad_rows
    everything = size == count
    lead = padded(size)

    def at(values: Tensor, fill: float = 0.0) -> Tensor:
        chosen = values[..., :count] if everything else values[..., positions]
        return torch.nn.functional.pad(chosen, (0, lead - size), value=fill)

    chosen_targets = local[:lead] if everything else at(local, -1)
    row_stats = at(stats)
    by_row = row_gradients(
        head, row_stats[LOGP], row_stats[LSE], row_stats[TARGET_LOGIT], row_stats[ENTROPY],
        (chosen_targets >= 0) & (chosen_targets < weight.shape[0]),
        *(None if gradient is None else at(gradient) for gradient in upstream),
    )  # fmt: skip
    if not everything:
        index = positions if index is None else index[positions]
    dtype = multiply_dtype(hidden, head.fast, "torch")
    target = grad_rows
    if grad_rows is not None and not everything:
        target = grad_rows.new_empty((size, hidden.shape[1]))
    backward_tiles(
        Rows(hidden, index, block_rows, dtype), Weights(weight, bias, dtype), chosen_targets, head, row_stats[LSE],
        at(tile_lse), kept, padded(count), None if everything else positions, by_row,
        Gradients(target, into.weight, into.bias), add,
    )  # fmt: skip
    if grad_rows is None:
        return hidden.new_empty(0)
    if not everything and target is not None:
        grad_rows.index_copy_(0, positions, target)
    return grad_rows


@linear_logps_backward.register_fake
def _(
    grad_logp: Tensor | None, grad_lse: Tensor | None, grad_entropy: Tensor | None, hidden: Tensor, weight: Tensor,
    bias: Tensor | None, targets: Tensor, rows: Tensor | None, stats: Tensor, tile_lse: Tensor, kept: Tensor,
    ignore_index: int, temperature: float, logit_scale: float, softcap: float | None, fast: bool, mode: str, block_rows: int,
    implementation: str, group: str, first: int, need_hidden: bool, need_weight: bool, need_bias: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    return (
        torch.empty(hidden.shape if need_hidden else (0,), dtype=hidden.dtype, device=hidden.device),
        torch.empty(weight.shape, dtype=weight.dtype, device=weight.device) if need_weight else hidden.new_empty(0),
        hidden.new_empty(0)
        if bias is None or not need_bias
        else torch.empty_like(bias, memory_format=torch.contiguous_format),
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    hidden, weight, bias, targets, rows = inputs[:5]
    ctx.save_for_backward(hidden, weight, bias, targets, rows, *output[6:])
    ctx.settings = inputs[5:10]
    ctx.mode, ctx.block_rows, ctx.implementation, ctx.group, ctx.first = inputs[11:16]
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[3:])


def _differentiate(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
    if ctx.mode == "forward":
        raise RuntimeError(
            "poz.torch.linear_logps was run without keeping what a gradient needs; run it again with grad."
        )
    hidden, weight, bias, targets, rows, stats, tile_lse, kept = ctx.saved_tensors
    needs = ctx.needs_input_grad[:3]
    results = linear_logps_backward(
        *gradients[:3], hidden, weight, bias, targets, rows, stats, tile_lse, kept, *ctx.settings, ctx.mode,
        ctx.block_rows, ctx.implementation, ctx.group, ctx.first, *needs,
    )  # fmt: skip
    return (*(result if need else None for result, need in zip(results, needs, strict=True)), *(None,) * 15)


def _refuse(ctx: Any, *gradients: Tensor | None) -> None:
    raise RuntimeError(
        "poz.torch.linear_logps has no second derivative. Take log-probabilities from logits with torch operations where one "
        "is needed, such as `torch.log_softmax(hidden @ weight.T, -1)`."
    )


linear_logps_forward.register_autograd(_differentiate, setup_context=_remember)
linear_logps_backward.register_autograd(_refuse)
