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
    equation="AQFL in Table 1; eq. 20 to 22, with the q of the code",
    formula=r"-w\log\sigma(z)+(1-w)\max(0,1-z),\quad z=\beta h,\ x=z/0.05,\ w=\sigma\bigl(0.1\,|x-q|\bigr),\ q=0.95\operatorname{std}(x)\,\overline{\sigma(-x)}+0.05\,\sigma(\bar x)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published("arXiv:2406.08414, §5.3 and Figure 5", {"beta": (0.025, 0.05, 0.1, 0.25, 0.5, 1.0)}),
        Published("SakanaAI/DiscoPOP@3307865, recipes/zephyr-7b-gemma/gpo/config_full.yaml", {"beta": (0.05,)}),
    ],
    coupled="the quantile follows the mean, the spread and the wins of the batch's margins",
    deviations=[
        Deviation("the authors' code", "NaN for a single pair", "its spread is 0"),
        Deviation("the paper's eq. 23 and 24", "q = m + 0.05 σ(x̄ - m), m with the variance", "the code's, with std"),
        Deviation("the authors' `adaptive_quantile_feedback_loss_old`, the search", "w from h", "from x = z / 0.05"),
    ],
    basis="The authors' code in use, executed in float64 (SakanaAI/DiscoPOP@3307865): tests/authors/aqfl.json. The paper, read.",
)
def aqfl(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.05,
) -> Array:
    """A mixture of logistic and hinge loss, even at the quantile and all logistic far from it."""
    z = beta * terms.log_ratio_margin(pairs)
    if 0 in z.shape:
        return z
    x = z / 0.05  # h as the loss was found, at this β
    zero, far = xp.constant(0.0, x), xp.amax(abs(x), -1) == np.inf  # then the spread, and the quantile, are infinite
    known = xp.where(far, zero, x)
    mean = xp.mean(known)
    variance = xp.sum((known - mean) ** 2) / max(x.shape[-1] - 1, 1)
    # The rounding of the mean of equal margins is no spread, and a spread of 0 has no slope.
    flat = (xp.amax(known, -1) <= -xp.amax(-known, -1)) | (variance == 0)
    spread = xp.where(flat, zero, xp.where(flat, xp.ones_like(variance), variance) ** 0.5)
    quantile = 0.95 * spread * xp.mean(xp.sigmoid(-known)) + 0.05 * xp.sigmoid(mean)
    apart = xp.where(far, xp.constant(np.inf, x), 0.1 * abs(known - quantile))
    hinge = terms.times(xp, xp.sigmoid(-apart), xp.relu(1 - z))
    return hinge - xp.sigmoid(apart) * xp.log_sigmoid(z)
