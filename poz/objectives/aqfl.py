"""AQFL, a sibling of DiscoPOP: logistic far from a quantile, half hinge near it."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Published, objective


@objective(
    title="Adaptive Quantile Feedback Loss",
    paper="arXiv:2406.08414",
    equation="AQFL in the table of discovered losses (v3)",
    formula=r"-w\log\sigma(\beta h)+(1-w)\max(0,1-\beta h),\quad w=\sigma\bigl(0.1\,|h-q|\bigr),\ q=0.95\operatorname{std}(h)\,\overline{\sigma(-h)}+0.05\,\sigma(\bar h)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[Published("", {"beta": (0.05,)})],
    coupled="the quantile follows the mean, the spread and the wins of the batch's margins",
    deviations=[Deviation("the authors' code", "NaN for a single pair", "its spread is 0")],
    basis="The paper's table (v3) and the authors' code, read.",
)
def aqfl(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.05,
) -> Array:
    """A mixture of logistic and hinge loss, even at the quantile and all logistic far from it."""
    h = terms.log_ratio_margin(pairs)
    if 0 in h.shape:
        return h
    zero, far = xp.constant(0.0, h), xp.amax(abs(h), -1) == np.inf  # then the spread, and the quantile, are infinite
    known = xp.where(far, zero, h)
    mean = xp.mean(known)
    variance = xp.sum((known - mean) ** 2) / max(h.shape[-1] - 1, 1)
    # The rounding of the mean of equal margins is no spread, and a spread of 0 has no slope.
    flat = (xp.amax(known, -1) <= -xp.amax(-known, -1)) | (variance == 0)
    spread = xp.where(flat, zero, xp.where(flat, xp.ones_like(variance), variance) ** 0.5)
    quantile = 0.95 * spread * xp.mean(xp.sigmoid(-known)) + 0.05 * xp.sigmoid(mean)
    apart = xp.where(far, xp.constant(np.inf, h), 0.1 * abs(known - quantile))
    hinge = terms.times(xp, xp.sigmoid(-apart), xp.relu(1 - beta * h))
    return hinge - xp.sigmoid(apart) * xp.log_sigmoid(beta * h)
