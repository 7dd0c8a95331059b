"""Any batch that an objective takes, through its kernel: turned into packed form, and back."""
# ruff: noqa: E402 - what is missing is said before anything fails

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from poz._extras import require

require("poz.kernels", "torch", "torch")

import torch
from torch import Tensor

from poz._checks import prepared
from poz.families import layout_of
from poz.kernels import layout
from poz.kernels.packed import Implementation as Implementation
from poz.kernels.packed import implementation_for as implementation_for
from poz.kernels.packed import list_loss as list_loss
from poz.kernels.packed import token_loss as token_loss
from poz.zoo import zoo


def fused_losses(
    name: str, batch: Any, params: Mapping[str, Any] | None = None, implementation: Implementation = "auto"
) -> Tensor:
    """What `poz.zoo[name](batch, **params)` gives, through the kernel: losses (batch,), differentiable as there.

    Raises:
        TypeError: The batch is of another family, or not of torch tensors.
        ValueError: As the objective, `token_loss` and `list_loss`.
        RuntimeError: Triton was asked for where it cannot run.
    """
    params = dict(params or {})
    packed = from_batch(name, batch, params)
    loss = list_loss if "lists" in packed else token_loss
    lead = batch[0].ndim - len(layout_of(type(batch)).shapes[batch._fields[0]][0]) + 1
    return loss(zoo[name].name, **packed, implementation=implementation, **params).reshape(batch[0].shape[:lead])


def from_batch(name: str, batch: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `token_loss` or `list_loss` for a batch of any family that is made of log-probs.

    A summed log-prob is packed as a completion of one token, with its length as the divisor. Masked tokens and
    completions are left out, so what stands in them has no influence; a mask on a GPU is waited for.

    Raises:
        TypeError: The batch is of another family, or not of torch tensors.
        ValueError: Missing fields, shapes that do not match.
    """
    objective = zoo[name].bind(**params)
    required = objective.needs(objective.values)
    xp, fields = prepared(objective.name, batch, objective.family, required, objective.may_read)
    if xp.name != "torch":
        raise TypeError(f"The kernels take torch tensors; got {xp.name} arrays.")
    if objective.check_values is not None:
        objective.check_values(xp, fields, objective.values)
    sides, family = layout.sides(objective), layout_of(objective.family)
    masks = [getattr(fields, family.masks.get(side, ""), None) for side in sides]

    def packed(given: Iterable[Tensor]) -> Tensor:
        return torch.cat([x.reshape(-1) if m is None else x[m] for x, m in zip(given, masks, strict=True)])

    def named(names: Iterable[str]) -> list[Any]:
        return [getattr(fields, name) for name in names]

    policy, lengths = named(sides), [family.lengths[side] for side in sides if side in family.lengths]
    logps = packed(policy)
    anchors = []
    for prefix in layout.others(objective):
        other = named(f"{prefix}{side}" for side in sides)
        anchors += [packed(one) for one in (zip(*other, strict=True) if prefix == "opponents_" else [other])]
    columns = {}
    for column, (members, dimensions, _) in layout.columns(objective).items():
        values = named(members)
        if values[0] is not None:
            vector = dimensions[-1] in layout.VECTORS
            flat = tuple(values[0].shape[-2:]) if vector else {"b": (-1,), "c": (-1,)}.get(dimensions)
            columns[column] = packed(values) if flat is None else values[0].reshape(flat)
    each = torch.arange(logps.numel() + 1, device=logps.device)
    rest = {
        "logps": logps,
        "offsets": each,
        "anchors": anchors,
        "lengths": packed(named(lengths)) if objective.reads & set(lengths) else None,
        "columns": columns,
    }
    if family.per_token:
        return {**rest, "offsets": _borders(policy, masks)}
    if family.lists:
        return {**rest, "lists": _borders(policy, masks), "longest": policy[0].shape[-1]}
    return rest


def _borders(policy: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
    counts = [torch.ones_like(x).long().sum(-1) if m is None else m.sum(-1) for x, m in zip(policy, masks, strict=True)]
    joined = torch.cat([count.reshape(-1) for count in counts])
    return torch.cat([joined.new_zeros(1), joined.cumsum(0)])
