"""From an objective with its hyper-parameters to what a skeleton is told: `plan` of the objective's own kernel file."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from poz.objective import Objective

Values = Mapping[str, Any]
Column = Callable[[Callable[[str], Any]], Any]
Variants = tuple[Values, ...]
"""Hyper-parameters that choose between points; each is compiled ahead of time."""


class PairPlan(NamedTuple):
    """What the pair skeleton does.

    Attributes:
        point: (chosen, rejected, columns, params) -> (loss, d loss / d chosen, d loss / d rejected), a `triton.jit`
            function.
        params: Its hyper-parameters.
        weights: One weight per anchor: the reference first where the objective reads it, then the opponents.
        columns: Per-pair fields of the family that the point takes, by name, or functions that make such a column: each is
            given a function from names to columns, of which those are None that are not there.
        base: The point under it (LCPO), or None.
        mean: Whether a score is the mean over the tokens of its segment, not the sum.
        discount: Factor per token.
        bonus: Factor of the mean calibration log-ratio, which is added to every loss (VPO); None: no such term.
        cloning: The point, and the weights of the two segments from the label, of a further term on mean log-probs
            (CPL); None: no such term.
    """

    point: Any
    params: tuple[float, ...]
    weights: tuple[float, ...] = ()
    columns: tuple[str | Column, ...] = ()
    base: Any = None
    mean: bool = False
    discount: float = 1.0
    bonus: float | None = None
    cloning: tuple[Any, Any] | None = None


class ListPlan(NamedTuple):
    """What the skeleton of ranked lists does.

    Attributes:
        point: (pivot, index, scores, rewards, valid, params) -> (loss, gradient in every score, comparisons), a
            `triton.jit` function.
        params: Its hyper-parameters.
        weights: One weight per anchor.
        rewards: Whether the point reads the rewards.
        mean: Whether a score is the mean over the tokens of its completion, not the sum.
        sft_weight: Factor of (K - 1)² times the negative summed log-prob of the best completion.
    """

    point: Any
    params: tuple[float, ...]
    weights: tuple[float, ...] = ()
    rewards: bool = True
    mean: bool = False
    sft_weight: float = 0.0


class RolloutPlan(NamedTuple):
    """What the skeleton of rollouts does, beside what all objectives on rollouts take alike.

    Attributes:
        point: (log-prob, old log-prob, log-ratio, log of the weight that corrects the sampler, advantage, params) -> (term of
            the token, its slope in the log-prob), a `triton.jit` function.
        params: Its hyper-parameters.
        weighs: Whether the point has that weight in it; else what it gives is multiplied with it.
        whole: What the log-ratio is of: "" of the token, "sum" or "mean" of its completion.
        spread: Whether such a ratio has its slope in all tokens, not in the token alone.
    """

    point: Any
    params: tuple[float, ...]
    weighs: bool = False
    whole: str = ""
    spread: bool = True


Plan = PairPlan | ListPlan | RolloutPlan
FILES = {path.stem: path.parent.name for path in Path(__file__).parent.glob("*/[!_]*.py")}
"""By objective the folder of its family, of those that have a kernel file."""


def has_kernel(name: str) -> bool:
    """Whether the objective of that name has a kernel file."""
    return name in FILES


def file_of(name: str) -> Any:
    """The kernel file of the objective of that name, imported; Triton with it."""
    return importlib.import_module(f"poz.kernels.{FILES[name]}.{name}")


def plan(objective: Objective, anchors: int) -> Plan | None:
    """The plan of an objective that is given so many anchors; None where it is no point function.

    Raises:
        ValueError: The objective needs another number of anchors.
    """
    if not has_kernel(objective.name):
        return None
    made = file_of(objective.name).plan(objective.values, anchors)
    if made is None:
        return None
    made = made._replace(params=tuple(map(float, made.params)))
    if isinstance(made, RolloutPlan):  # the other policies are those that the family has
        return made
    if len(made.weights) != anchors:
        raise ValueError(
            f"`{objective.name}` needs {len(made.weights)} anchors with these hyper-parameters "
            f"(the reference first where it is read, then each opponent); got {anchors}."
        )
    return made._replace(weights=tuple(map(float, made.weights)))  # type: ignore[no-any-return]


def point_name(point: Any) -> str:
    """A point as "file.function"."""
    return f"{point.__module__.rpartition('.')[2].removeprefix('_')}.{point.__name__}"
