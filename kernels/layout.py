"""Where the fields of a family stand in packed form, for every family that is made of the log-probs of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from poz.families import layout_of
from poz.kernels.plan import has_kernel

if TYPE_CHECKING:
    from poz.objective import Objective

NAMES = {"scores": "rewards"}
VECTORS = "dfhz"
"""The dimensions of what is a vector for each example."""


class Column(NamedTuple):
    """Numbers beside the log-probs.

    Attributes:
        fields: The fields of the family, one, or one for each side.
        dimensions: Of the numbers: "b" one per example, "bt" per token, "bd", "bf", "bh" and "bz" a vector per example, "bk" per
            completion of a list, "c" any.
        required: Whether the objective cannot do without.
    """

    fields: tuple[str, ...]
    dimensions: str
    required: bool


def no_tokens(objective: Objective) -> str:
    """Why no kernel runs the objective; "" where one does: packed, a score is a completion of one token."""
    layout = layout_of(objective.family)
    if layout.errors:
        return "it reads one denoising error for each image, not the log-probs of tokens, which the kernels sum"
    if layout.scores and not has_kernel(objective.name):
        return "it reads what a reward model makes of a completion, not the log-probs of tokens, which the kernels sum"
    return ""


def sides(objective: Objective) -> tuple[str, ...]:
    """The fields whose completions stand behind each other.

    Raises:
        TypeError: The objective is not made of the log-probs of tokens.
    """
    if why := no_tokens(objective):
        raise TypeError(f"`{objective.name}` has no kernel: {why}.")
    return tuple(side for side in layout_of(objective.family).sides if side in objective.reads)


def others(objective: Objective) -> tuple[str, ...]:
    """Prefixes of the same fields under the other policies that the objective reads, in the order of the anchors."""
    first = layout_of(objective.family).sides[0]
    return tuple(prefix for prefix in ("ref_", "anchor_", "opponents_") if f"{prefix}{first}" in objective.reads)


def columns(objective: Objective) -> dict[str, Column]:
    """All other fields that the objective may read, by name in packed form.

    What the tokens of each side have is one column, without the side in its name.
    """
    layout = layout_of(objective.family)
    policies = {f"{prefix}{side}" for prefix in ("", *others(objective)) for side in layout.sides}
    found: dict[str, Column] = {}
    for field, (dimensions, _) in layout.shapes.items():
        if field in (objective.reads | objective.optional) - {
            *policies,
            *layout.lengths.values(),
            *layout.masks.values(),
        }:
            name = NAMES.get(field, field)
            if dimensions in ("bt", "bu"):
                name = name.removeprefix("chosen_").removeprefix("rejected_")
            before = found[name].fields if name in found else ()
            found[name] = Column((*before, field), dimensions.replace("u", "t"), field in objective.reads)
    return found
