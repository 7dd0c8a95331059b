"""LCPO-EM (RE-PO), as `poz.objectives.lcpo`, over the point function of its base objective.

`columns` are the logit of the annotator's reliability, then the base's columns as they are and as they are for the swapped
pair. The posterior w = σ(u + logit η), u = L(swapped) - L, is a constant in the gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import torch
import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, soft_label, times
from poz.kernels.plan import PairPlan, Values, Variants
from poz.kernels.plan import plan as plan_of
from poz.objectives.pairs.lcpo import CLAMP
from poz.objectives.pairs.simpo import simpo


@triton.jit
def gibbs(chosen, rejected, columns, params, BASE: tl.constexpr):
    """softplus(-u) + (1-w) u; d/du = σ(u) - w = σ(u) (1-w) (1 - η / (1-η)), a product in which nothing cancels."""
    loss, up, down = BASE(chosen, rejected, columns[1 : 1 + len(columns) // 2], params)
    other, other_up, other_down = BASE(rejected, chosen, columns[1 + len(columns) // 2 :], params)
    u = other - loss
    w, miss = sigmoid(u + columns[0]), sigmoid(-u - columns[0])
    slope = sigmoid(u) * miss * (1.0 - tl.exp(columns[0]))
    return soft_label(u, w, miss), slope * (other_down - up), slope * (other_up - down)


@triton.jit
def weighted(chosen, rejected, columns, params, BASE: tl.constexpr):
    """L w + L(swapped) (1-w)."""
    loss, up, down = BASE(chosen, rejected, columns[1 : 1 + len(columns) // 2], params)
    other, other_up, other_down = BASE(rejected, chosen, columns[1 + len(columns) // 2 :], params)
    w, miss = sigmoid(other - loss + columns[0]), sigmoid(loss - other - columns[0])
    return times(w, loss) + times(miss, other), w * up + miss * other_down, w * down + miss * other_up


def plan(values: Values, anchors: int) -> PairPlan | None:
    """What the pair skeleton is told: the base's plan with this point over it."""
    base = cast("PairPlan | None", plan_of(values["base"], anchors))
    if base is None or base.base is not None:
        return None
    both = values["mode"] == "weighted"  # what a pair and its swap have in common leaves u alone
    return base._replace(
        point=weighted if both else gibbs,
        base=base.point,
        bonus=base.bonus if both else None,
        cloning=base.cloning if both else None,
        columns=(
            functools.partial(_logit, values["reliability"]),
            *base.columns,
            *(functools.partial(_swapped, name, name in values["base"].reads) for name in base.columns),
        ),
    )


def _swapped(name: Any, read: bool, column: Callable[[str], Any]) -> Any:
    """The column of the pair with its sides exchanged; a label that is not read stays 1."""
    value = column({"chosen_len": "rejected_len", "rejected_len": "chosen_len"}.get(name, name))
    return 1 - value if name == "label" and read else value


def _logit(reliability: Any, column: Callable[[str], Any]) -> Any:
    """logit η of each pair. In float64: 1 - η of a float32 η near 1 has few digits."""
    label, annotator = column("label"), column("annotator")
    eta = torch.as_tensor(reliability, dtype=torch.float64, device=label.device).clamp(*CLAMP)
    if eta.ndim:
        if annotator is None:
            raise ValueError(f"{eta.numel()} reliabilities need annotator ids. Give annotator, or one reliability.")
        if annotator.device.type == "cpu" and annotator.numel():
            least, most = int(annotator.min()), int(annotator.max())
            if least < 0 or most >= eta.numel():
                raise ValueError(
                    f"Annotator ids go from 0 to {eta.numel() - 1}, one for each reliability; got {least} to {most}."
                )
        eta = eta[annotator.long()]
    return torch.logit(eta).expand(label.shape).to(label.dtype)


VARIANTS: Variants = ({}, {"base": simpo.bind(smoothing="swap"), "mode": "weighted"})
