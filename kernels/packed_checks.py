"""What the losses from packed tokens refuse of what they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from poz.backends import namespace
from poz.families import layout_of
from poz.kernels import layout

if TYPE_CHECKING:
    from poz.objective import Objective


def check_anchors(objective: Objective, anchors: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The log-probs of other policies, if they are as many as the objective reads."""
    if isinstance(anchors, Tensor):
        _check_type("anchors", anchors)
    given, policies = tuple(anchors), layout.others(objective)
    several = "opponents_" in policies
    if len(given) < len(policies) or (len(given) > len(policies) and not several):
        raise ValueError(
            f"`{objective.name}` needs {len(policies)} anchor{'s' * (len(policies) != 1)}{' or more' * several} with these "
            f"hyper-parameters (the reference first where it is read, then each other policy); got {len(given)}."
        )
    return given


def check_borders(what: str, borders: Tensor, logps: Tensor, end: int) -> Tensor:
    """Borders of completions among tokens, or of lists among completions, as int64."""
    _check_type("logps", logps)
    _check_type(what, borders)
    if logps.ndim != 1 or not logps.dtype.is_floating_point:
        raise ValueError(f"logps must be one vector of floats; got {logps.dtype} of shape {tuple(logps.shape)}.")
    if borders.ndim != 1 or borders.numel() == 0 or borders.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"{what} must be one vector of integers; got {borders.dtype} of shape {tuple(borders.shape)}.")
    if borders.device != logps.device:
        raise ValueError(f"{what} are on {borders.device} but logps on {logps.device}; move them together.")
    if borders.device.type == "cpu" and (borders[0] < 0 or borders[-1] > end or (borders.diff() < 0).any()):
        raise ValueError(f"{what} must ascend within 0 and {end}; got {borders[0]} to {borders[-1]}.")
    return borders.long()


def check_column(what: str, value: Tensor | None, logps: Tensor, size: int, wide: bool = False) -> None:
    """Refuses what is no number, or vector, for each of so many."""
    if value is None:
        return
    _check_type(what, value)
    if value.shape[:1] != (size,) or value.ndim != 1 + wide:
        raise ValueError(f"{what} must have shape ({size},{' width' * wide}); got {tuple(value.shape)}.")
    if value.device != logps.device:
        raise ValueError(f"{what} is on {value.device} but logps on {logps.device}; move them together.")


def _check_type(what: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} must be a torch tensor; got {type(value).__name__}.")
    namespace(value)  # which refuses a DTensor


def check_columns(
    objective: Objective,
    arguments: Mapping[str, Tensor | None],
    columns: Mapping[str, Tensor | None],
    logps: Tensor,
    sizes: Mapping[str, int],
) -> dict[str, Tensor]:
    """The columns that the objective reads, by name; `sizes` says how many of each kind there are."""
    known = layout.columns(objective)
    if unknown := sorted(set(columns) - set(known)):
        raise ValueError(
            f"`{objective.name}` reads no column {', '.join(unknown)} with these hyper-parameters; "
            f"it reads {', '.join(known) or 'none'}."
        )
    found = {}
    for name, column in known.items():
        value = arguments.get(name) if columns.get(name) is None else columns[name]
        wide = column.dimensions[-1] in layout.VECTORS
        dimensions = column.dimensions[:1] if wide else column.dimensions
        if value is None and column.required:
            per = {"b": "example", "bt": "token", "bk": "completion", "c": "further sample"}[dimensions]
            raise ValueError(f"`{objective.name}` needs {name} with these hyper-parameters, one for each {per}.")
        if value is not None:
            _check_type(name, value)
            check_column(name, value, logps, sizes.get(dimensions, value.numel()), wide=wide)
            if layout_of(objective.family).shapes[column.fields[0]][1] == "mask" and value.dtype != torch.bool:
                raise TypeError(f"`{objective.name}` needs booleans for {name}; got {value.dtype}.")
            found[name] = value
    return found
