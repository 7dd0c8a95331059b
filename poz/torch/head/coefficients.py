"""The rows that learn something, and what their logits' gradients are made of."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from poz.torch.head.blocks import Rows
from poz.torch.head.settings import Saved, Upstream
from poz.torch.head.statistics import RowStatistics
from poz.torch.head.tiles import LOWEST, Head, padded
from poz.torch.head.work import Work


class RowGradients(NamedTuple):
    """What each row's logits get: `p_j * (level + tilt * z_j)` off the target, `target` at it; float64 (padded rows,)."""

    level: Tensor
    tilt: Tensor | None
    target: Tensor


class Chosen(NamedTuple):
    """Some of the rows that take part.

    Attributes:
        rows: their hidden states.
        positions: (rows,) where they lie among all that take part; None if they are all of them.
        total: how many take part.
        targets: (padded rows,) int64, local to this shard.
    """

    rows: Rows
    positions: Tensor | None
    total: int
    targets: Tensor

    def at(self, values: Tensor, fill: float = 0.0) -> Tensor:
        """Their numbers, (..., padded rows), of those of all that take part."""
        chosen = values[..., : self.total] if self.positions is None else values[..., self.positions]
        return torch.nn.functional.pad(chosen, (0, padded(self.rows.count) - self.rows.count), value=fill)

    def spread(self, gradients: Tensor) -> Tensor:
        """Their gradients among those of all that take part, which are 0."""
        if self.positions is None:
            return gradients
        return gradients.new_zeros((self.total, *gradients.shape[1:])).index_copy_(0, self.positions, gradients)


def bend_at(target_logit: Tensor, head: Head) -> Tensor | float:
    """d logit / d x of the soft cap at the target, 0 where the target is masked; 1 without a cap."""
    return 1.0 if head.softcap is None else 1 - (target_logit * head.bend).clamp(min=-1.0) ** 2


def all_rows(work: Work) -> Chosen:
    """All that take part."""
    return Chosen(work.rows, None, work.rows.count, work.targets)


def learning_rows(work: Work, upstream: Upstream) -> Chosen:
    """Those with a coefficient that is not 0."""
    rows = work.rows
    active = torch.zeros(rows.count, dtype=torch.bool, device=rows.hidden.device)
    for gradient in upstream:
        if gradient is not None:
            active |= gradient != 0
    positions = active.nonzero().squeeze(1)
    if positions.shape[0] == rows.count:
        return all_rows(work)
    index = positions if rows.index is None else rows.index[positions]
    some = Rows(rows.hidden, index, rows.block_rows, rows.dtype)
    chosen = Chosen(some, positions, rows.count, work.targets)
    return chosen._replace(targets=chosen.at(work.targets, -1))


def row_gradients(work: Work, chosen: Chosen, saved: Saved, upstream: Upstream) -> tuple[RowStatistics, RowGradients]:
    """Statistics of these rows and the coefficients of their logits' gradient, all (padded rows,)."""
    head, targets = work.settings.head, chosen.targets
    numbers = RowStatistics(*chosen.at(saved.stats))
    grad_logp, grad_lse, grad_entropy = (None if gradient is None else chosen.at(gradient) for gradient in upstream)
    zero = torch.zeros_like(numbers.logp)
    by_logp = zero if grad_logp is None else grad_logp
    by_lse = zero if grad_lse is None else grad_lse
    level = by_lse - by_logp
    at_target = by_lse
    tilt = None
    if grad_entropy is not None:
        level = level + grad_entropy * (numbers.lse - numbers.entropy)
        at_target = at_target - grad_entropy * (numbers.target_logit.clamp(min=LOWEST) - numbers.lse + numbers.entropy)
        tilt = -grad_entropy
    target = at_target * numbers.logp.exp() - by_logp * torch.expm1(numbers.logp)
    target = target * bend_at(numbers.target_logit, head)
    # A row whose target is of no use to this shard must not turn 0 * NaN into a gradient.
    owned = (targets >= 0) & (targets < work.weights.weight.shape[0])
    by_row = RowGradients(
        level * head.slope, None if tilt is None else tilt * head.slope, target.where(owned, zero) * head.slope
    )
    return numbers, by_row
