"""HERON, as `poz.objectives.heron`, whose rule makes the one column; a score is a completion of one token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import triton
import triton.language as tl

from poz.backends import namespace
from poz.kernels._maths import along, sigmoid, softplus, times
from poz.kernels.plan import Column, PairPlan, Values
from poz.objectives.reward_pairs.heron import labels, share


@triton.jit
def labelled(chosen, rejected, columns, params):
    """|s| softplus(-z) with z = y d, d = r_w - r_l and s = y B / n; d/dd = -s σ(-z)."""
    signed = columns[0]
    apart = chosen - rejected
    z = tl.where(signed < 0.0, -apart, apart)
    return along(times(tl.abs(signed), softplus(-z)), -times(signed, sigmoid(-z)))


def _signed(values: Values) -> Column:
    def column(find: Callable[[str], Any]) -> Any:
        like = find("label")
        xp = namespace(like)
        y = labels(xp, find("chosen_factors"), find("rejected_factors"), values["delta"], like)
        return y * share(xp, y)

    return column


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(labelled, (), columns=(_signed(values),))
