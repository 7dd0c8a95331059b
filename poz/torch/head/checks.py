"""What the arguments of `linear_logps` are refused for, beyond their kinds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from poz._scaling import check_factors
from poz.torch.head.doors import check_numbers, has_values
from poz.torch.head.settings import OUTPUTS

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def check_scaling(
    temperature: float, logit_scale: float, softcap: float | None, precision: str, ignore_index: int
) -> None:
    """Refuses settings that define no logits."""
    numbers = {"temperature": temperature, "logit_scale": logit_scale}
    check_numbers(ignore_index, **numbers, **({} if softcap is None else {"softcap": softcap}))
    if not 0 < temperature < math.inf:
        raise ValueError(f"`temperature` must be positive and finite; got {temperature}.")
    if not -math.inf < logit_scale < math.inf:
        raise ValueError(f"`logit_scale` must be finite; got {logit_scale}.")
    if softcap is not None and not 0 < softcap < math.inf:
        raise ValueError(f"`softcap` must be positive and finite, or None for no cap; got {softcap}.")
    check_factors(temperature, logit_scale, softcap)
    if precision not in ("exact", "fast"):
        raise ValueError(f"`precision` must be 'exact' or 'fast'; got {precision!r}.")


def check_outputs(outputs: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if they are known."""
    known = isinstance(outputs, (tuple, list)) and all(name in OUTPUTS for name in outputs)
    if not known or not outputs:
        raise ValueError(f"`outputs` must be a tuple of names among {', '.join(OUTPUTS)}; got {outputs!r}.")
    return tuple(outputs)


def check_tensors(hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, rows: Tensor | None) -> None:
    """Refuses tensors that do not fit each other."""
    if weight.dim() != 2 or hidden.dim() < 1 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"`hidden` must be (..., D) and `weight` (V, D); got {tuple(hidden.shape)} and {tuple(weight.shape)}. "
            "A weight stored as (D, V) has to be transposed: weight.T costs nothing."
        )
    if 0 in weight.shape:
        raise ValueError(f"`weight` must hold at least one token and one hidden size; got {tuple(weight.shape)}.")
    if targets.shape != hidden.shape[:-1]:
        raise ValueError(
            f"`targets` must have the shape of `hidden` without its last dimension, {tuple(hidden.shape[:-1])}; "
            f"got {tuple(targets.shape)}."
        )
    if targets.dtype != torch.int64:
        raise TypeError(f"`targets` must be int64; got {targets.dtype}. Convert it with .long().")
    if hidden.dtype not in DTYPES or weight.dtype != hidden.dtype:
        raise TypeError(
            f"`hidden` and `weight` must share one of float32, bfloat16, float16, float64; got {hidden.dtype} and "
            f"{weight.dtype}. Convert one, or use torch.autocast."
        )
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype not in (hidden.dtype, torch.float32)):
        raise ValueError(
            f"`bias` must be ({weight.shape[0]},) of {hidden.dtype} or float32; got {tuple(bias.shape)} of {bias.dtype}."
        )
    if rows is not None and (rows.dim() != 1 or rows.dtype != torch.int64):
        raise ValueError(f"`rows` must be a one-dimensional int64 index; got {tuple(rows.shape)} of {rows.dtype}.")
    if rows is not None and rows.device.type == "cpu" and has_values(rows):
        check_rows(rows, targets.numel())
    for name, other in (("weight", weight), ("targets", targets), ("bias", bias), ("rows", rows)):
        if other is not None and other.device != hidden.device:
            raise ValueError(f"`{name}` is on {other.device} and `hidden` on {hidden.device}; move one.")


def check_rows(rows: Tensor, count: int) -> None:
    """Refuses an index of rows that are not there, or there twice."""
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


def check_targets(targets: Tensor, vocabulary: int) -> None:
    """Refuses targets that are no tokens."""
    if targets.numel() and (int(targets.min()) < 0 or int(targets.max()) >= vocabulary):
        wrong = targets[(targets < 0) | (targets >= vocabulary)][0].item()
        raise ValueError(
            f"Targets must lie in [0, {vocabulary}), the vocabulary, or be `ignore_index`; got {wrong}. "
            "Mask what is to be left out with `ignore_index`."
        )
