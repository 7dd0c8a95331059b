"""The same losses without a skeleton: sums over the segments, then the objective itself, and autograd back.

This is what runs where there is no GPU, in float64, and for an objective that is no function of one pair's scores; on
a GPU such an objective gets its sums from Triton.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from poz.families import Pairs, Ranked, TokenPairs
from poz.objective import Objective

Sums = Callable[[Tensor, Tensor], Tensor]


def sums(logps: Tensor, offsets: Tensor) -> Tensor:
    """The sum of each segment, in float32 or float64."""
    values = logps.to(torch.promote_types(logps.dtype, torch.float32))
    token = torch.arange(values.numel(), device=offsets.device)
    segment = torch.searchsorted(offsets, token, right=True)  # the first and the last belong to no segment
    return values.new_zeros(offsets.numel() + 1).index_add(0, segment, values)[1:-1]


def pairs(
    objective: Objective,
    logps: Tensor,
    offsets: Tensor,
    anchors: Sequence[Tensor],
    lengths: Tensor | None,
    data: Mapping[str, Tensor | None],
    sums: Sums = sums,
) -> Tensor:
    """Losses of the pairs; the chosen segments stand before the rejected ones."""
    reference = "ref_chosen" in objective.reads
    if objective.family is TokenPairs:
        return cast(Tensor, objective(_token_pairs(logps, offsets, anchors, data)))
    chosen, rejected = sums(logps, offsets).chunk(2)
    others = [sums(anchor, offsets).chunk(2) for anchor in anchors]
    ref_chosen, ref_rejected = others[0] if reference else (None, None)
    chosen_len, rejected_len = (offsets.diff() if lengths is None else lengths).chunk(2)
    opponents = others[reference:]
    batch = Pairs(
        chosen,
        rejected,
        ref_chosen,
        ref_rejected,
        chosen_len=chosen_len,
        rejected_len=rejected_len,
        opponents_chosen=torch.stack([first for first, _ in opponents]) if opponents else None,
        opponents_rejected=torch.stack([second for _, second in opponents]) if opponents else None,
        **data,
    )
    return cast(Tensor, objective(batch))


def ranked(
    objective: Objective,
    logps: Tensor,
    offsets: Tensor,
    lists: Tensor,
    anchors: Sequence[Tensor],
    rewards: Tensor | None,
    lengths: Tensor | None,
    longest: int,
    sums: Sums = sums,
) -> Tensor:
    """Losses of the lists."""
    place = lists[:-1, None] + torch.arange(longest, device=lists.device)
    mask = place < lists[1:, None]

    def table(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(1)])[torch.where(mask, place, x.numel())]

    batch = Ranked(
        table(sums(logps, offsets)),
        table(sums(anchors[0], offsets)) if anchors else None,
        table(offsets.diff() if lengths is None else lengths),
        None if rewards is None else table(rewards),
        mask,
    )
    return cast(Tensor, objective(batch))


def _token_pairs(
    logps: Tensor, offsets: Tensor, anchors: Sequence[Tensor], data: Mapping[str, Tensor | None]
) -> TokenPairs:
    starts, counts = offsets[:-1, None], offsets.diff()[:, None]
    step = torch.arange(int(counts.max()) if counts.numel() else 0, device=offsets.device)
    mask = step < counts

    def table(x: Tensor) -> tuple[Tensor, ...]:
        return torch.cat([x, x.new_zeros(1)])[torch.where(mask, starts + step, x.numel())].chunk(2)

    rest = {name: value for name, value in data.items() if name in TokenPairs._fields}
    masks = dict(zip(("chosen_mask", "rejected_mask"), mask.chunk(2), strict=True))
    sides = [*table(logps), *(side for anchor in anchors for side in table(anchor))]
    return TokenPairs(**dict(zip(TokenPairs._fields, sides, strict=False)), **masks, **rest)
