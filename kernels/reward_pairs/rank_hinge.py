"""HPSv2's ranking hinge, as `poz.objectives.rank_hinge`; a score is a completion of one token."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import along, times
from poz.kernels.plan import PairPlan, Values


@triton.jit
def sloped(chosen, rejected, columns, params):
    """max(0, γ - m d) with d = r_w - r_l; d/dd = -m where that is above 0, else 0."""
    ranks = columns[0]
    short = params[0] - times(ranks, chosen - rejected)
    slope = tl.where(short > 0.0, 1.0, tl.where(short <= 0.0, 0.0, short))
    return along(tl.where(short <= 0.0, 0.0, short), -times(ranks, slope))


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told; the label is 1, as the ranks are where they are not given."""
    return PairPlan(
        sloped,
        (values["bound"],),
        columns=(lambda find: find("label") if find("margin") is None else find("margin"),),
    )
