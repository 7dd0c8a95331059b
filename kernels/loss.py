"""Any batch that an objective takes, through its kernel: turned into packed form, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from poz import families
from poz.kernels.packed import Implementation as Implementation
from poz.kernels.packed import implementation_for as implementation_for
from poz.kernels.packed import list_loss as list_loss
from poz.kernels.packed import token_loss as token_loss
from poz.objective import Objective
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
    shape = batch[0].shape if isinstance(batch, families.Pairs) else batch[0].shape[:-1]
    return loss(zoo[name].name, **packed, implementation=implementation, **params).reshape(shape)


def from_batch(name: str, batch: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `token_loss` or `list_loss` for a batch of poz.Pairs, poz.TokenPairs or poz.Ranked.

    A summed log-prob is packed as a completion of one token, with its length as the divisor. Masked tokens and
    completions are left out, so what stands in them has no influence; a mask on a GPU is waited for.

    Raises:
        TypeError: The batch is of another family, or not of torch tensors.
        ValueError: Missing fields, shapes that do not match.
    """
    objective = zoo[name].bind(**params)
    xp, fields = families.prepared(
        objective.name, batch, objective.family, tuple(sorted(objective.reads)), tuple(sorted(objective.optional))
    )
    if xp.name != "torch":
        raise TypeError(f"The kernels take torch tensors; got {xp.name} arrays.")
    if objective.check_values is not None:
        objective.check_values(xp, fields, objective.values)
    return _PACK[objective.family](objective, fields)


def _pairs(objective: Objective, pairs: Any) -> dict[str, Any]:
    def both(of: str) -> Tensor:
        return torch.cat([getattr(pairs, f"{side}{of}").reshape(-1) for side in ("chosen", "rejected")])

    def anchor(chosen: Tensor, rejected: Tensor) -> Tensor:
        return torch.cat([chosen.reshape(-1), rejected.reshape(-1)])

    logps = both("")
    anchors = []
    if "ref_chosen" in objective.reads:
        anchors.append(anchor(pairs.ref_chosen, pairs.ref_rejected))
    if "opponents_chosen" in objective.reads:
        anchors += map(anchor, pairs.opponents_chosen, pairs.opponents_rejected)
    flat = {name: getattr(pairs, name) for name in ("label", "margin", "entropy", "annotator")}
    return {
        "logps": logps,
        "offsets": torch.arange(logps.numel() + 1, device=logps.device),
        "anchors": anchors,
        "lengths": both("_len") if "chosen_len" in objective.reads else None,
        "calibration": pairs.calibration,
        "ref_calibration": pairs.ref_calibration,
        **{name: None if value is None else value.reshape(-1) for name, value in flat.items()},
    }


def _token_pairs(objective: Objective, pairs: Any) -> dict[str, Any]:
    masks = pairs.chosen_mask, pairs.rejected_mask

    def packed(of: str) -> Tensor:
        sides = getattr(pairs, f"{of}chosen"), getattr(pairs, f"{of}rejected")
        return torch.cat([x.reshape(-1) if mask is None else x[mask] for x, mask in zip(sides, masks, strict=True)])

    counts = [
        torch.full(x.shape[:-1], x.shape[-1], device=x.device) if mask is None else mask.sum(-1)
        for x, mask in zip((pairs.chosen, pairs.rejected), masks, strict=True)
    ]
    return {
        "logps": packed(""),
        "offsets": _running(torch.cat([count.reshape(-1) for count in counts])),
        "anchors": [packed("ref_")] if "ref_chosen" in objective.reads else [],
        "label": None if pairs.label is None else pairs.label.reshape(-1),
    }


def _ranked(objective: Objective, lists: Any) -> dict[str, Any]:
    mask = torch.ones_like(lists.logps, dtype=torch.bool) if lists.mask is None else lists.mask

    def packed(x: Tensor | None) -> Tensor | None:
        return x if x is None else x.reshape(-1) if lists.mask is None else x[mask]

    logps = packed(lists.logps)
    assert logps is not None
    return {
        "logps": logps,
        "offsets": torch.arange(logps.numel() + 1, device=logps.device),
        "lists": _running(mask.sum(-1).reshape(-1)),
        "anchors": [packed(lists.ref_logps)] if "ref_logps" in objective.reads else [],
        "lengths": packed(lists.lengths) if "lengths" in objective.reads else None,
        "rewards": packed(lists.scores),
        "longest": mask.shape[-1],
    }


def _running(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


_PACK: dict[type, Callable[[Objective, Any], dict[str, Any]]] = {
    families.Pairs: _pairs,
    families.TokenPairs: _token_pairs,
    families.Ranked: _ranked,
}
