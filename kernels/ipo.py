"""IPO, as `poz.objectives.ipo`."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 - the interpreter asks for it

from poz.kernels._maths import along
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def squared(chosen, rejected, columns, params):
    """(h - target)² with h = chosen - rejected; d/dh = 2 (h - target)."""
    error = chosen - rejected - params[0]
    return along(error * error, 2.0 * error)


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    return PairPlan(squared, (0.5 / values["tau"],), (1.0,), mean=values["length_normalized"])


VARIANTS: Variants = ({"length_normalized": True},)
