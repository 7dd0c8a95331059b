"""The same losses without a skeleton: sums over the segments, then the objective itself, and autograd back.

This is what runs where there is no GPU, in float64, and for an objective that has no point function; on a GPU such an
objective gets its `Segments` from Triton.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from poz.backends import namespace
from poz.families import layout_of
from poz.kernels import layout
from poz.objective import Objective


class Segments:
    """Runs of packed tokens.

    Attributes:
        offsets: (segments + 1,) int64 borders, ascending; the tokens outside belong to no segment.
        tokens: How many tokens are packed.
    """

    def __init__(self, offsets: Tensor, tokens: int) -> None:
        self.offsets, self.tokens = offsets, tokens

    def sum(self, values: Tensor) -> Tensor:
        """(tokens,) -> (segments,) in float32 or float64."""
        values = wide(values)
        return values.new_zeros(self.offsets.numel() + 1).index_add(0, self._owner, values)[1:-1]

    def max(self, values: Tensor) -> Tensor:
        """(tokens,) -> (segments,); minus infinity where there are none."""
        least = values.new_full((self.offsets.numel() + 1,), -torch.inf)
        return least.scatter_reduce(0, self._owner, values, "amax")[1:-1]

    def spread(self, each: Tensor) -> Tensor:
        """(segments,) -> (tokens,): to every token what its segment has, 0 outside."""
        edge = each.new_zeros(1)
        return torch.cat([edge, each, edge])[self._owner]

    def running(self, values: Tensor) -> Tensor:
        """(tokens,) -> (tokens,): the sum from the first token of its segment to each, where none is outside."""
        place = torch.arange(self.tokens, device=self.offsets.device) - self.spread(self.offsets[:-1])
        table = wide(values).new_zeros(self.offsets.numel() + 1, int(place.max()) + 1 if self.tokens else 0)
        return table.index_put((self._owner, place), wide(values)).cumsum(-1)[self._owner, place]

    @functools.cached_property
    def _owner(self) -> Tensor:
        # 1, 2, ...; 0 and the last belong to no segment.
        return torch.searchsorted(self.offsets, torch.arange(self.tokens, device=self.offsets.device), right=True)


class Ragged(Tensor):
    """(tokens,) numbers of completions behind each other, for a function that takes (completions, tokens).

    Functions act on each token, to which a (completions, 1) argument gives what its completion has. `sum`, `amax` and
    `cumsum` along the last axis stay within a completion; nothing else along an axis is known. In another shape they are
    plain numbers, of all completions.
    """

    segments: Segments

    @classmethod
    def of(cls, values: Tensor, segments: Segments) -> Ragged:
        """The tokens of all segments."""
        ragged = values.as_subclass(cls)
        ragged.segments = segments
        return ragged

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What every function of torch does with such numbers."""
        kwargs = kwargs or {}
        ours = [x for x in args if isinstance(x, cls)]
        along = kwargs.get("dim")
        if not ours or along not in (None, -1) or (along and function not in (torch.sum, torch.amax, torch.cumsum)):
            raise NotImplementedError(f"{function.__name__} of packed tokens is not known; call the objective itself.")
        segments = ours[0].segments
        with torch._C.DisableTorchFunctionSubclass():
            if along and function is torch.sum:
                return segments.sum(ours[0])
            if along and function is torch.amax:
                return segments.max(ours[0])
            if along:
                return cls.of(segments.running(ours[0]), segments)
            flat = (segments.spread(x[:, 0]) if isinstance(x, Tensor) and x.ndim == 2 else x for x in args)
            found = function(*flat, **kwargs)
            plain = function is torch.Tensor.reshape or not isinstance(found, Tensor) or found.ndim != 1
            return found if plain else cls.of(found, segments)


def examples(
    objective: Objective,
    logps: Tensor,
    offsets: Tensor,
    anchors: Sequence[Tensor],
    lengths: Tensor | None,
    columns: Mapping[str, Tensor],
    segments: type[Segments] = Segments,
) -> Tensor:
    """Losses of pairs, whose chosen segments stand before the rejected ones, or of single completions."""
    sides, others = layout.sides(objective), layout.others(objective)
    known, family = layout.columns(objective), layout_of(objective.family)
    if family.per_token:
        return _by_token(objective, logps, offsets, anchors, columns, segments)
    fields = {known[name].fields[0]: x for name, x in columns.items()}
    sums = segments(offsets, logps.numel())
    policy, *rest = (sums.sum(x).chunk(len(sides)) for x in (logps, *anchors))
    opponents = rest[len(others) - 1 :] if "opponents_" in others else []
    counts = (offsets.diff() if lengths is None else lengths).chunk(len(sides))
    for i, side in enumerate(sides):
        fields[side] = policy[i]
        fields |= {family.lengths[side]: counts[i]} if side in family.lengths else {}
        fields |= {f"{prefix}{side}": x[i] for prefix, x in zip(others, rest, strict=False)}
        if opponents:
            fields[f"opponents_{side}"] = torch.stack([x[i] for x in opponents])
    return cast(Tensor, objective(objective.family(**fields)))


def _by_token(
    objective: Objective,
    logps: Tensor,
    offsets: Tensor,
    anchors: Sequence[Tensor],
    columns: Mapping[str, Tensor],
    segments: type[Segments],
) -> Tensor:
    sides, others, known = layout.sides(objective), layout.others(objective), layout.columns(objective)
    count = (offsets.numel() - 1) // len(sides)
    borders = offsets[torch.arange(len(sides) + 1, device=offsets.device) * count].tolist()
    fields = {known[name].fields[0]: x for name, x in columns.items() if known[name].dimensions == "b"}
    for i, side in enumerate(sides):
        start, stop = borders[i : i + 2]
        here = segments(offsets[i * count : (i + 1) * count + 1] - start, stop - start)
        tokens = {side: logps} | {f"{prefix}{side}": x for prefix, x in zip(others, anchors, strict=True)}
        tokens |= {known[name].fields[i]: x for name, x in columns.items() if known[name].dimensions == "bt"}
        mask = layout_of(objective.family).masks.get(side)
        if mask in objective.reads:
            tokens[mask] = torch.ones_like(logps, dtype=torch.bool)
        fields |= {name: Ragged.of(wide(x[start:stop]), here) for name, x in tokens.items()}
    xp, batch = namespace(logps), objective.family(**fields)
    if objective.check_values is not None:
        objective.check_values(xp, batch, objective.values)
    return cast(Tensor, objective.function(xp, batch, **objective.values))


def lists(
    objective: Objective,
    logps: Tensor,
    offsets: Tensor,
    borders: Tensor,
    anchors: Sequence[Tensor],
    lengths: Tensor | None,
    columns: Mapping[str, Tensor],
    longest: int,
    segments: type[Segments] = Segments,
) -> Tensor:
    """Losses of lists of completions."""
    place = borders[:-1, None] + torch.arange(longest, device=borders.device)
    mask = place < borders[1:, None]

    def table(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(1)])[torch.where(mask, place, x.numel())]

    sums, family = segments(offsets, logps.numel()), layout_of(objective.family)
    (side,) = family.sides
    fields = {side: logps}
    fields |= {f"{prefix}{side}": x for prefix, x in zip(layout.others(objective), anchors, strict=True)}
    fields = {name: table(sums.sum(x)) for name, x in fields.items()}
    fields |= {layout.columns(objective)[name].fields[0]: table(x) for name, x in columns.items()}
    counted = table(offsets.diff() if lengths is None else lengths)
    fields |= dict.fromkeys(family.lengths.values(), counted) | dict.fromkeys(family.masks.values(), mask)
    return cast(Tensor, objective(objective.family(**fields)))


def wide(x: Tensor) -> Tensor:
    """16-bit floats in 32 bit."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
