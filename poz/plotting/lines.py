"""What of an objective is drawn: batches along a line, on which one thing moves and everything else stands still."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from poz._given import given
from poz.families import Layout, layout_of
from poz.objective import Objective
from poz.testing.answers import reference

Floats = npt.NDArray[np.float64]
Fields = Mapping[str, npt.NDArray[Any]]
CONTRASTS: Mapping[str, Mapping[str, Any]] = {
    "desirable": {"desirable": True, "undesirable": False},
    "advantages": {"advantage +1": 1.0, "advantage -1": -1.0},
    "winrates": {"win rate 1": 1.0, "win rate 0": 0.0},
    "label": {"label 1": 1.0, "label 0": 0.0},
}
"""By field of completions without a rival: what it is on each line."""
LOW, TOKEN, SURE = -10.0, float(np.log(0.1)), 0.0
"""Log-probs in nats: of a completion, for none is positive; of a token that was sampled; of one that is certain."""
ERROR = 0.1
"""Mean squared error of a denoised image."""
WIDEST, RATIO, ERRORS = (-10.0, 10.0), (-2.0, 2.0), (-0.01, 0.01)
"""From where to where margins are drawn, in nats; log-ratios of a token; and differences of errors."""
LISTED = 3
"""Completions in a list, where an objective takes any number."""


@dataclass(frozen=True, eq=False)
class Line:
    """An objective along a line.

    Attributes:
        objective: Whose loss it is.
        name: What sets this line apart from others of the objective; "" where there is one.
        along: What moves: the label of the axis.
        unit: Of what moves.
        still: What stands still, a clause.
        ends: From where to where it is drawn if nothing else is said.
        base: An example at 0; any others beside it stand still.
        moves: By field how far it moves where the line moves by 1, in the shape of the field.
    """

    objective: Objective
    name: str
    along: str
    unit: str
    still: str
    ends: tuple[float, float]
    base: Fields
    moves: Fields

    def batch(self, xs: Floats) -> Any:
        """Examples for each of the numbers `xs`, in the objective's family."""
        fields = {}
        for name, value in self.base.items():
            axis = layout_of(self.objective.family).shapes[name][0].find("b")  # calibration samples are of no example
            field = value if axis < 0 else np.concatenate([value] * len(xs), axis)
            if name in self.moves:
                move = self.moves[name]
                field = field + np.concatenate([move * x for x in xs], axis)
            fields[name] = field
        return self.objective.family(**fields)

    def at(self, xs: Floats) -> tuple[Floats, Floats]:
        """Losses and the gradient along the line, by the float64 reference; what couples a batch gets each point alone."""
        if self.objective.coupled and len(xs) != 1:
            parts = [self.at(xs[i : i + 1]) for i in range(len(xs))]
            return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        losses, gradients = reference(self.objective, self.batch(xs))
        slopes = np.zeros(len(xs))
        for name, move in self.moves.items():
            slopes += (gradients[name].reshape(len(xs), -1) * move.reshape(1, -1)).sum(1)
        return losses.reshape(len(xs), -1)[:, 0], slopes

    @property
    def flat(self) -> bool:
        """Whether nothing of it changes, as far as nine points show."""
        losses, slopes = self.at(np.linspace(*self.ends, 9))
        return bool(np.ptp(losses) == 0 and not slopes.any())

    @property
    def held(self) -> bool:
        """Whether the gradient is not the slope of the loss, as far as nine points show: parts of it are held constant."""
        span = self.ends[1] - self.ends[0]
        xs, step = np.linspace(*self.ends, 11)[1:-1] + 5e-4 * span, 1e-5 * span
        losses, slopes = self.at(xs)
        around = (self.at(xs + step)[0] - self.at(xs - step)[0]) / (2 * step)
        rounding = 1e-10 * np.abs(losses).max() / step
        return bool(
            (np.abs(slopes - around) > 0.01 * np.maximum(np.abs(slopes), np.abs(around)).max() + rounding).any()
        )

    def same(self, other: Line) -> bool:
        """Whether the losses and gradients of two lines are the same at nine points."""
        xs = np.linspace(*self.ends, 9)
        both = zip(self.at(xs), other.at(xs), strict=True)
        return all(np.allclose(a, b, rtol=1e-9, atol=1e-12 * (1 + np.abs(a).max())) for a, b in both)


def curve(objective: Objective, xs: Floats) -> tuple[Floats, Floats]:
    """Losses and gradients of the first of its lines at `xs`, from the float64 reference."""
    return lines(objective)[0].at(np.asarray(xs, np.float64))


def label(objective: Objective) -> str:
    """Its name, with the hyper-parameters that are not at their defaults."""
    changed = {
        name: value
        for name, value in objective.values.items()
        if not np.array_equal(value, objective.params[name].default)
    }
    return with_values(objective.name, changed)


def with_values(name: str, values: Mapping[str, Any]) -> str:
    """A name with hyper-parameters in brackets."""
    said = {
        key: value.name if isinstance(value, Objective) else f"{value:g}" if isinstance(value, float) else value
        for key, value in values.items()
    }
    return name + f" ({', '.join(f'{key}={value}' for key, value in said.items())})" * bool(said)


@given
def lines(objective: Objective, widest: float = 0.0) -> list[Line]:
    """What is drawn of an objective: where its loss depends on more than what moves, a line for each.

    * Pairs: the margin, the log-prob (of a reward model, the score) of chosen minus that of rejected. Every other log-prob stands
      at -10 nats, for none is positive, and so do both at margin 0; where it matters which of them moves there are two lines.
      Lengths are 1, known rewards 1. Each score moves by half of the margin, so that what centres scores is 0. Of images it is
      by how much the error of chosen is the smaller one; the others stand at 0.1.
    * Lists: one completion of three moves, the others stand; known rewards are 1, 1/2 and 0. There is a line for each.
    * Completions without a rival: the log-ratio of a good, and of a bad one. On rollouts that of a single token, with an
      advantage of 1 and of -1, to which the old policy and the reference give probability 0.1.

    What couples a batch is given each example alone.

    Args:
        objective: Whose.
        widest: How far they are to go, where that is further than their ends: what stands still is the lower, so that no
            log-prob is positive, and the larger, so that no error is negative.

    Raises:
        ValueError: There is nothing to draw it against; the message says why.
        TypeError: It has no reference.
    """
    layout = layout_of(objective.family)
    make = _pair if layout.paired else _list if layout.lists and layout.ranked else _alone
    made = make(objective, layout, _level(layout, widest))
    for line in made:
        objective(line.batch(np.zeros(1)))
    alone = "; it is alone in its batch" if objective.coupled and len(next(iter(made[0].base.values()))) == 1 else ""
    read = objective.reads & {*layout.lengths.values()}
    long = "; each completion is 1 token long" if read and not layout.per_token else ""
    return [replace(line, still=line.still + long + alone) for line in _distinct(made)]


def _distinct(made: list[Line]) -> list[Line]:
    """Lines that are the same are one, with the names of both; a name that sets nothing apart is left out."""
    kept: list[Line] = []
    for line in made:
        twin = next((i for i, one in enumerate(kept) if one.same(line)), None)
        if twin is None:
            kept.append(line)
        else:
            kept[twin] = replace(kept[twin], name=f"{kept[twin].name.removesuffix(' moves')} or {line.name}")
    return kept if len(kept) > 1 else [replace(kept[0], name="")]


def _level(layout: Layout, widest: float) -> float:
    """What stands still: errors, scores or log-probs."""
    if layout.errors or layout.scores:
        return max(ERROR, widest) if layout.errors else 0.0
    return min(TOKEN if layout.per_token and not layout.paired else LOW, -widest)


def _pair(objective: Objective, layout: Layout, level: float) -> list[Line]:
    chosen, rejected = layout.sides
    if not objective.reads & {chosen, rejected}:
        raise ValueError(
            f"`{objective.name}` reads no {'score' if layout.scores else 'log-prob'}, so there is no margin to "
            "draw it against."
        )
    if layout.errors:
        along, unit, ends = "error of rejected above that of chosen", "mean square", ERRORS
    else:
        along, unit, ends = "margin of chosen over rejected", "nats", WIDEST
    if rejected not in objective.reads:
        return list(_single(objective, layout, level))
    for tokens in (1, 2) if layout.per_token else (1,):
        base = _plain(objective, layout, level, tokens=tokens)
        up = -_first(base[chosen]) if layout.errors else _first(base[chosen])
        if layout.scores:
            moves = {chosen: up / 2, rejected: -up / 2}
            return [Line(objective, "", along, unit, "each score moves by half of the margin", ends, base, moves)]
        if tokens > 1:
            ends = (-9.0, 9.0)  # a nat more, and the other token is certain too
        still = f"all else stands at {level:g}" + ", but for a second token, which is certain" * (tokens - 1)
        made = [
            Line(objective, f"{side} moves", along, unit, still, ends, base, {side: move})
            for side, move in ((chosen, up), (rejected, -up))
        ]
        if not all(line.flat for line in made):
            break
    return made


def _single(objective: Objective, layout: Layout, level: float) -> Iterator[Line]:
    """Of pairs of which only chosen is read."""
    base, side = _plain(objective, layout, level), layout.sides[0]
    along, still = f"log-prob of the completion above {level:g}", f"at 0 it is {level:g}"
    if not objective.reference_free:
        along, still = "log-ratio of the completion", f"the reference stands at {level:g}"
    moves = {side: _first(base[side])}
    for name, fields in _contrasted(objective, base):
        yield Line(objective, name, along, "nats", still, WIDEST, fields, moves)


def _list(objective: Objective, layout: Layout, level: float) -> list[Line]:
    side = layout.sides[0]
    for many in (LISTED, LISTED + 1):
        base = _plain(objective, layout, level, many=many)
        try:
            objective.check(objective.family(**base))
        except ValueError as error:  # not a list of this size
            refusal = error
            continue
        still = f"the others of {many} stand at {level:g}"
        along = "margin of one completion over the others"
        return [
            Line(objective, f"{_ordinal(i)} moves", along, "nats", still, WIDEST, base, {side: np.eye(many)[[i]]})
            for i in range(many)
        ]
    raise refusal


def _ordinal(i: int) -> str:
    return ("first", "second", "third", "fourth")[i]


def _alone(objective: Objective, layout: Layout, level: float) -> list[Line]:
    side = layout.sides[0]
    along, still, ends = "log-ratio of the completion", f"every other policy stands at {level:g}", WIDEST
    if layout.per_token:
        along, ends = "log-ratio of a token to the old policy", RATIO
        still = f"a token alone, to which the old policy and the reference give probability {np.exp(level):.3g}"
    base = _plain(objective, layout, level)
    if layout.per_token and "old_logps" in objective.optional:
        base["old_logps"] = base[side]
    if grouped := "groups" in objective.reads:  # nobody is compared with himself
        still += "; the other of its prompt stands, with the opposite advantage"
    made = []
    for name, fields in _contrasted(objective, base):
        if grouped:
            fields = {
                key: np.concatenate([x, -x if layout.shapes[key][1] == "number" else x]) for key, x in fields.items()
            }
        made.append(Line(objective, name, along, "nats", still, ends, fields, {side: _first(fields[side])}))
    return made


def _contrasted(objective: Objective, base: Fields) -> Iterator[tuple[str, dict[str, npt.NDArray[Any]]]]:
    """The example, or a good and a bad one."""
    for field, values in CONTRASTS.items():
        if field in objective.reads:
            for name, value in values.items():
                yield name, {**base, field: np.full_like(base[field], value)}
            return
    yield "", {**base}


def _first(x: npt.NDArray[Any]) -> Floats:
    """1 at the first number, 0 at the others."""
    moved = np.zeros(x.shape)
    moved.flat[0] = 1.0
    return moved


def _plain(
    objective: Objective, layout: Layout, level: float, many: int = 1, tokens: int = 1
) -> dict[str, npt.NDArray[Any]]:
    """What the objective reads, of one example that has nothing special."""
    # where `Layout.plain` would leave nothing to see: a factor decides, and a policy is as sure as its log-probs say
    special = {"rejected_factors": 0.0, "chosen_collision": level, "rejected_collision": level}
    fields: dict[str, npt.NDArray[Any]] = {}
    for name, (dims, content) in layout.shapes.items():
        if name not in objective.reads:
            continue
        if dims[-1] in "dh":
            raise ValueError(
                f"`{objective.name}` reads {name}, of which no single number is a margin, so there is no curve to draw it as."
            )
        kind = {"integer": np.int64, "mask": np.bool_}.get(content, np.float64)
        plain = {"logp": level, "feature": 0.0, "integer": 0.0}.get(content, 1.0)
        sizes = {"k": many, "t": tokens, "u": tokens, "m": _opponents(objective)}
        shape = [sizes.get(d, 1) for d in dims]
        fields[name] = np.full(shape, special.get(name, layout.plain.get(name, plain)), kind)
        if content == "logp" and tokens > 1:
            fields[name][..., 1:] = SURE
        if content == "number" and many > 1:
            fields[name][:] = np.linspace(1, 0, many)
    return fields


def _opponents(objective: Objective) -> int:
    """One, or as many as there are weights."""
    weighed = [name for name, param in objective.params.items() if getattr(param.domain, "per", "") == "opponent"]
    return max([1, *(np.size(objective.values[name]) for name in weighed if objective.values[name] is not None)])
