"""AQL, a sibling of DiscoPOP: logistic below a quantile, hinge above."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Published, objective


@objective(
    title="Adaptive Quantile Loss",
    paper="arXiv:2406.08414",
    equation="AQL in Table 1; eq. 11, with the w and q of the code",
    formula=r"-w\log\sigma(z)+(1-w)\max(0,1-z),\quad z=\beta h,\ x=z/0.05,\ w=\sigma(q-x),\ q=\tfrac12+0.01\bigl(\sigma(\bar x)-\tfrac12\bigr)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published("arXiv:2406.08414, §5.3 and Figure 5", {"beta": (0.025, 0.05, 0.1, 0.25, 0.5, 1.0)}),
        Published("SakanaAI/DiscoPOP@3307865, recipes/zephyr-7b-gemma/gpo/config_full.yaml", {"beta": (0.05,)}),
    ],
    coupled="the quantile follows the mean margin of the batch",
    deviations=[
        Deviation(
            "the paper's eq. 12 and 13", "w = σ(0.05 q - z), q with the mean of σ(x)", "σ(q - x) and σ of the mean"
        ),
        Deviation(
            "the authors' `adaptive_quantile_loss_old`, the search", "q from h, w = σ(-β (h - q))", "x = z / 0.05"
        ),
    ],
    basis="The authors' code in use, executed in float64 (SakanaAI/DiscoPOP@3307865): tests/authors/aql.json. The paper, read.",
)
def aql(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.05,
) -> Array:
    """A mixture of logistic and hinge loss, the more logistic the further the pair is below the quantile."""
    z = beta * terms.log_ratio_margin(pairs)
    if 0 in z.shape:
        return z
    x = z / 0.05  # h as the loss was found, at this β
    above = x - 0.5 - 0.01 * (xp.sigmoid(xp.mean(x)) - 0.5)
    hinge = terms.times(xp, xp.sigmoid(above), xp.relu(1 - z))
    return hinge - xp.sigmoid(-above) * xp.log_sigmoid(z)
