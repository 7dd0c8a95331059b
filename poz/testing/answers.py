"""What the float64 reference says about a case, and how finely an answer may be held against it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poz.domains import Real
from poz.objective import Base, Objective
from poz.testing.runners import Arrays
from poz.testing.tolerances import UNIT
from poz.zoo import zoo


class Expected(NamedTuple):
    """What the reference says about a case, and the scale that errors are measured against."""

    losses: npt.NDArray[np.float64]
    gradients: Arrays
    loss_scale: npt.NDArray[np.float64]
    gradient_scale: Arrays

    def reduced(self, reduction: str) -> Expected:
        """What is asked of a candidate that gives the "mean" or the "sum" of the losses; this itself where "none"."""
        if reduction == "none":
            return self
        share = 1 / len(self.losses) if reduction == "mean" else 1.0
        with np.errstate(all="ignore"):
            losses, scale = self.losses.sum() * share, self.loss_scale.sum() * share
        slopes, scales = ({n: g * share for n, g in x.items()} for x in (self.gradients, self.gradient_scale))
        return Expected(losses, slopes, scale, scales)


def reference(objective: Objective, batch: Any) -> tuple[npt.NDArray[np.float64], Arrays]:
    """Losses and gradients of the float64 reference, which shares no code with the objective."""
    function = objective.reference
    if zoo.has(objective):
        function = getattr(importlib.import_module("poz.reference"), objective.name)
    if function is None:
        raise TypeError(
            f"`{objective.name}` is not the `{objective.name}` of poz, so it has no reference. Give it one: "
            "@objective(..., reference=...)."
        )
    values = dict(objective.values)
    for name, param in objective.params.items():
        if isinstance(param.domain, Base):
            base = values[name]
            values |= {name: base.name, f"{name}_params": dict(base.values)}
    read = objective.reads | objective.optional
    fields = {name: x for name, x in zip(batch._fields, batch, strict=True) if x is not None and name in read}
    with np.errstate(all="ignore"):
        losses, gradients = function(**fields, **values)
    return losses, gradients


def expected(objective: Objective, batch: Any, dtype: str = "float64") -> Expected:
    """The reference's answer, and the scale of `poz.testing.tolerances` to measure errors against."""
    losses, gradients = reference(objective, batch)
    rng, step = np.random.default_rng(0), 1e-6
    loss_scale, gradient_scale = np.abs(losses), {name: np.abs(g) for name, g in gradients.items()}
    near = []
    for name in [*gradients] * 2:  # one field at a time, so that moves do not cancel
        field = getattr(batch, name)
        moved = {name: field * (1 + step * rng.choice([-1, 1], np.shape(field)))}
        near.append(reference(objective, batch._replace(**moved)))
    near += [reference(moved, batch) for moved in _moved(objective, step)]  # hyper-parameters are rounded as well
    for there, slopes in near:
        loss_scale = loss_scale + _distance(there, losses) / step
        gradient_scale = {n: gradient_scale[n] + _distance(slopes[n], gradients[n]) / step for n in gradients}
    for name, param in objective.params.items():
        if isinstance(param.domain, Base):  # differences of the base's losses carry the rounding of those losses
            base = objective.values[name]
            for order in (batch, batch.swap()):
                loss_scale = loss_scale + _distance(reference(base, order)[0], np.zeros_like(losses))
    largest = {n: np.abs(g[np.isfinite(g)]).max(initial=UNIT[dtype]) for n, g in gradients.items()}
    gradient_scale = {n: gradient_scale[n] + largest[n] for n in gradients}
    return Expected(losses, gradients, loss_scale + 1, gradient_scale)


def _distance(there: npt.NDArray[np.float64], here: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(all="ignore"):
        apart = np.abs(there - here)
    return np.where(np.isfinite(apart), apart, 0.0)  # an infinity that stays one has not moved


def _moved(objective: Objective, step: float) -> Iterator[Objective]:
    """The objective with one of its real hyper-parameters off by a share of itself, each in turn; downwards at an upper end."""
    for name, param in objective.params.items():
        value = objective.values[name]
        if not isinstance(param.domain, Real) or param.domain.whole or not isinstance(value, float) or value == 0:
            continue
        share = param.domain.low >= 0 and param.domain.high <= 1
        size = max(value, 1 - value) if share else value  # of a share, what is left of 1 is rounded too
        for direction in (step, -step):
            try:
                yield objective.bind(**{name: value + direction * size})
                break
            except ValueError:
                continue
