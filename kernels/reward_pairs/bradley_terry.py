"""Bradley-Terry with ties and centring, as `poz.objectives.bradley_terry`; a score is a completion of one token."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import sigmoid, soft_label, times
from poz.kernels.plan import Column, PairPlan, Values


@triton.jit
def scored(chosen, rejected, columns, params):
    """softplus(-z) + (1-p) z with z = (d - m) / τ, d = r_w - r_l; d/dd = ((1-p) - σ(-z)) / τ. Of a tie w d²; d/dd = 2 w d.

    And c s² with s = r_w + r_l; d/dr = 2 c s of either.
    """
    temperature, tie_weight, centering = params
    label, margin, tie = columns
    apart, both = chosen - rejected, chosen + rejected
    z, miss = (apart - margin) / temperature, 1.0 - label
    tied = tie != 0.0
    loss = tl.where(tied, times(tie_weight, apart * apart), soft_label(z, label, miss))
    slope = tl.where(tied, times(2.0 * tie_weight, apart), (miss - sigmoid(-z)) / temperature)
    common = times(2.0 * centering, both)
    return loss + times(centering, both * both), common + slope, common - slope


def _or_zero(name: str) -> Column:
    return lambda find: 0.0 * find("label") if find(name) is None else find(name).float()


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    params = values["temperature"], values["tie_weight"], values["centering"]
    return PairPlan(scored, params, columns=("label", _or_zero("margin"), _or_zero("tie")))
