"""AQL, a sibling of DiscoPOP: logistic below a quantile, hinge above."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Published, objective


@objective(
    title="Adaptive Quantile Loss",
    paper="arXiv:2406.08414",
    equation="AQL in the table of discovered losses (v3)",
    formula=r"-w\log\sigma(\beta h)+(1-w)\max(0,1-\beta h),\quad w=\sigma\bigl(-\beta(h-q)\bigr),\ q=\tfrac12+0.01\bigl(\sigma(\bar h)-\tfrac12\bigr)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[Published("", {"beta": (0.05,)})],
    coupled="the quantile follows the mean margin of the batch",
    basis="The paper's table (v3) and the authors' code, read.",
)
def aql(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.05,
) -> Array:
    """A mixture of logistic and hinge loss, the more logistic the further the pair is below the quantile."""
    h = terms.log_ratio_margin(pairs)
    if 0 in h.shape:
        return h
    above = beta * (h - 0.5 - 0.01 * (xp.sigmoid(xp.mean(h)) - 0.5))
    hinge = terms.times(xp, xp.sigmoid(above), xp.relu(1 - beta * h))
    return hinge - xp.sigmoid(-above) * xp.log_sigmoid(beta * h)
