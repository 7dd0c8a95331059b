"""Online IPO, as `poz.objectives.online_ipo`: IPO's square with the expected label."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along
from poz.kernels.plan import PairPlan, Values


@triton.jit
def expected(chosen, rejected, columns, params):
    """(h - (2 y - 1) target)² with h = chosen - rejected, y = P(chosen better); d/dh = 2 (h - (2 y - 1) target)."""
    error = chosen - rejected - (2.0 * columns[0] - 1.0) * params[0]
    return along(error * error, 2.0 * error)


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(expected, (0.5 / values["tau"],), (1.0,), columns=("label",))
