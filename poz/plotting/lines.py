"""What of an objective is drawn: batches along a line, on which one thing moves and everything else stands still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from poz.families import Layout, layout_of, named
from poz.objective import Objective
from poz.testing.answers import reference

Floats = npt.NDArray[np.float64]
Fields = Mapping[str, npt.NDArray[Any]]
LISTS = {2: [1.0, 0.0], 3: [1.0, 1.0, 0.0], 4: [1.0, 0.0, 0.0, 0.0]}
"""By the number of completions in a list: 1 for those that are as good as chosen."""
WIDE = "dfhz"
"""The axes of fields that hold several numbers for each completion or pair, which no margin stands for."""
CONTRASTS = {
    "desirable": {"desirable": True, "undesirable": False},
    "advantages": {"advantage +1": 1.0, "advantage \N{MINUS SIGN}1": -1.0},
}
"""By field of completions without a rival: what it is on each line."""
LOW = -10.0
"""Log-prob in nats of what stands still where no reference does: none is positive."""
WIDEST = (-10.0, 10.0)
TOKEN = float(np.log(0.1))
"""Log-prob of a token under the policy that sampled it: its ratio is a probability up to 10."""


@dataclass(frozen=True)
class Line:
    """An objective along a line.

    Attributes:
        objective: Whose loss it is.
        name: What sets this line apart from others of the objective; "" where there is one.
        along: What moves, with its unit: the label of the axis.
        still: What stands still, a clause.
        ends: From where to where it is drawn if nothing else is said.
        base: One example at 0.
        moves: By field how far it moves where the line moves by 1, in the shape of the field.
    """

    objective: Objective
    name: str
    along: str
    still: str
    ends: tuple[float, float]
    base: Fields
    moves: Fields

    def batch(self, xs: Floats) -> Any:
        """An example for each of the numbers `xs`, in the objective's family."""
        fields = {}
        for name, value in self.base.items():
            dims = layout_of(self.objective.family).shapes[name][0]
            axis = dims.find("b")  # calibration samples are of no example
            fields[name] = np.repeat(value, len(xs), axis) if axis >= 0 else value
            if name in self.moves:
                along = np.expand_dims(self.moves[name], 0) if axis < 0 else self.moves[name]
                fields[name] = fields[name] + np.tensordot(xs, along[0], 0).reshape(fields[name].shape)
        return self.objective.family(**fields)

    def at(self, xs: Floats) -> tuple[Floats, Floats]:
        """Losses and the gradient along the line, by the float64 reference. What couples a batch has one example in it."""
        if self.objective.coupled and len(xs) != 1:
            parts = [self.at(np.array([x])) for x in xs]
            return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        losses, gradients = reference(self.objective, self.batch(xs))
        slopes = np.zeros(len(xs))
        for name, move in self.moves.items():
            slopes += (gradients[name] * move).reshape(len(xs), -1).sum(1)
        return losses, slopes


def curve(objective: Objective, xs: Floats) -> tuple[Floats, Floats]:
    """Losses and gradients of the first of its lines at `xs`, from the float64 reference."""
    return lines(objective)[0].at(np.asarray(xs, np.float64))


def label(objective: Objective) -> str:
    """Its name, with the hyper-parameters that are not at their defaults."""
    changed = [
        f"{name}={value.name if isinstance(value, Objective) else f'{value:g}' if isinstance(value, float) else value}"
        for name, value in objective.values.items()
        if value is not (default := objective.params[name].default) and not np.array_equal(value, default)
    ]
    return objective.name + f" ({', '.join(changed)})" * bool(changed)


def lines(objective: Objective) -> list[Line]:
    """What is drawn of an objective.

    The margin is the log-prob (of a reward model, the score) of chosen minus that of rejected in nats. The rejected one
    and everything else stands at 0: reference, opponents and calibration samples; lengths are 1, rewards 1 and 0. Without a
    reference a rejected log-prob stands at -10, for none is positive; and a score at minus half the margin, so that what
    centres scores is 0. A list of three has two as good as chosen, one of four has one.

    Raises:
        ValueError: There is nothing to draw it against; the message says why.
        TypeError: It has no reference.
    """
    layout = layout_of(objective.family)
    if layout.paired and not layout.errors:
        made = _pair(objective, layout)
    elif layout.ranked:
        return [_list(objective, layout)]
    elif contrast := [name for name in CONTRASTS if name in layout.shapes and not layout.lists]:
        made = _alone(objective, layout, contrast[0])
    else:
        raise ValueError(
            f"`{objective.name}` reads {named(objective.family)}, which has no margin to draw it against. `poz list` says which "
            "read pairs or lists."
        )
    for line in made:
        objective.check(line.batch(np.zeros(1)))
    return made


def _pair(objective: Objective, layout: Layout) -> list[Line]:
    if (layout.per_token or layout.scores) and layout.sides[1] not in objective.reads:
        raise ValueError(
            f"`{objective.name}` reads no {'score' if layout.scores else 'rejected completion'}, so there is no margin to "
            "draw it against."
        )
    beside = [name for name, (dims, _) in layout.shapes.items() if name in objective.reads and dims[-1] in WIDE]
    if beside:
        raise ValueError(
            f"`{objective.name}` reads {' and '.join(beside)}, on which its loss depends as on the margin, so there is no "
            "curve to draw it as."
        )
    chosen, rejected = layout.sides
    base = _plain(objective, layout)
    up, down = np.ones_like(base[chosen]), -np.ones_like(base[chosen])
    along = "margin of chosen over rejected"
    if layout.scores:
        moves = {chosen: up / 2, rejected: down / 2}
        return [Line(objective, "", along, "each score moves by half of the margin", WIDEST, base, moves)]
    level = LOW if objective.reference_free and not layout.per_token else 0.0
    for side in objective.reads & {chosen, rejected}:
        base[side] = base[side] + level
    still = f"the other completion stands at {level:g}" + ", as the reference does" * (not objective.reference_free)
    if rejected not in objective.reads:
        along, still = f"log-prob of chosen above {level:g}", "there is no other completion"
        return [Line(objective, "", along, still, WIDEST, base, {chosen: up})]
    first = Line(objective, "chosen moves", along, still, WIDEST, base, {chosen: up})
    second = Line(objective, "rejected moves", along, still, WIDEST, base, {rejected: down})
    objective.check(first.batch(np.zeros(1)))
    xs = np.linspace(*WIDEST, 9)
    same = all(np.allclose(x, y, rtol=1e-9, atol=1e-12) for x, y in zip(first.at(xs), second.at(xs), strict=True))
    return [replace(first, name="")] if same else [first, second]


def _list(objective: Objective, layout: Layout) -> Line:
    for chosen in LISTS.values():
        base = _plain(objective, layout, len(chosen))
        fixed = {name: np.array([chosen]) for name in base if layout.shapes[name][1] == "number"}
        moves = {layout.sides[0]: np.array([chosen])}
        along = "margin of the best over the others"
        line = Line(objective, "", along, f"{len(chosen)} completions", WIDEST, {**base, **fixed}, moves)
        try:
            objective(line.batch(np.zeros(1)))
        except ValueError as error:  # not a list of this size
            refusal = error
        else:
            return line
    raise refusal


def _alone(objective: Objective, layout: Layout, contrast: str) -> list[Line]:
    base, side = _plain(objective, layout), layout.sides[0]
    ends, still = WIDEST, "the reference stands at 0"
    if layout.per_token:
        at = {name: np.full((1, 1), TOKEN) for name in layout.policies() if layout.shapes[name][0] == "bt"}
        base |= {name: at[name] for name in at if name in base}
        base["old_logps"] = at[side]
        ends, still = (
            (-2.0, 2.0),
            "a completion of one token, to which the old policy and the reference give probability 0.1",
        )
    moves = {side: np.ones_like(base[side])}
    along = "log-ratio of the completion" if not layout.per_token else "log-ratio to the old policy"
    values = CONTRASTS[contrast] if contrast in objective.reads else {"": None}
    made = []
    for name, value in values.items():
        fields = base if value is None else {**base, contrast: np.full_like(base[contrast], value)}
        made.append(Line(objective, name, along, still, ends, fields, moves))
    return made


def _plain(objective: Objective, layout: Layout, many: int = 1) -> dict[str, npt.NDArray[Any]]:
    """What the objective reads, of one example that has nothing special."""
    fields = {}
    for name, (dims, content) in layout.shapes.items():
        if name in objective.reads:
            kind = {"integer": np.int64, "mask": np.bool_}.get(content, np.float64)
            value = layout.plain.get(name, content not in ("logp", "feature", "integer"))
            fields[name] = np.full([many if d == "k" else 1 for d in dims], value, kind)
    return fields
